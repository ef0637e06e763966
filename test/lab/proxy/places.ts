/** Addresses and clients of the proxy lab, all in 198.18.0.0/15. */

/** The company's network: its DNS server and its proxies. The only neighbour of the host. */
export const CORP = '198.18.20.1'
export const HOST = '198.18.20.2'
/** Corp's other end, towards the web. */
export const CORP_OUTSIDE = '198.18.21.1'
/** The web: only corp reaches it. */
export const WEB = '198.18.21.2'
export const WEB_NAME = 'www.web.test'

/** The proxies, as the host's settings name them. squid asks for a password. */
export const UPSTREAMS = {
  squid: `http://lab:s%40cret@${CORP}:3128`,
  tinyproxy: `http://${CORP}:8888`,
} as const

/** A proxy of the company. */
export type UpstreamName = keyof typeof UPSTREAMS

/** The slow file: so many lines, one each so many `ms`. */
export const SLOW_LINES = 40
export const SLOW_MS = 50

/** The large file, `bytes`. */
export const LARGE_BYTES: number = 20 * 1024 * 1024

/**
 * Clients: each prints what its name promises when it got what the web has. `$WORK` is an empty folder, `$CA` the web's certificate.
 * Their answer begins with the proxy that the web saw, where the protocol shows it.
 */
export const CLIENTS = {
  'curl, http': `curl -sS -m 20 http://${WEB_NAME}/hello`,
  'curl, https': `curl -sS -m 20 --cacert "$CA" https://${WEB_NAME}/hello`,
  'curl, 20 MB': `curl -sS -m 60 --cacert "$CA" https://${WEB_NAME}/large | sha256sum | cut -c1-64`,
  'git over HTTP': `git clone -q http://${WEB_NAME}/git/lab.git "$WORK/clone" && cat "$WORK/clone/file"`,
  'git over HTTPS': `git -c http.sslCAInfo="$CA" clone -q https://${WEB_NAME}/git/lab.git "$WORK/clone" && cat "$WORK/clone/file"`,
  apt: `
mkdir -p "$WORK/lists/partial" "$WORK/archives/partial" && cd "$WORK" &&
echo 'deb [trusted=yes] http://${WEB_NAME}/apt ./' >"$WORK/sources.list" && : >"$WORK/status" &&
set -- -qq -o Dir::Etc::sourcelist="$WORK/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$WORK/lists" \\
  -o Dir::State::status="$WORK/status" -o Dir::Cache::archives="$WORK/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \\
  -o APT::Sandbox::User=root -o Acquire::Retries=0 &&
apt-get "$@" update && apt-get "$@" download lab-package >/dev/null && dpkg-deb -f "$WORK"/lab-package_*.deb Version`,
  npm: `
cd "$WORK" && echo '{}' >package.json &&
npm install --silent --no-audit --no-fund --cache "$WORK/cache" --registry http://${WEB_NAME}/npm/ lab-module >/dev/null &&
cat node_modules/lab-module/index.js`,
  'Node fetch': `NODE_EXTRA_CA_CERTS="$CA" "$NODE" --no-warnings -e 'fetch("https://${WEB_NAME}/hello").then((r) => r.text()).then(console.log)'`,
} as const

/** A client of the lab. */
export type ClientName = keyof typeof CLIENTS

/** What the lab saw: by way and upstream, what each client printed. */
export interface ProxyReport {
  /** What the host itself gets without a proxy: nothing. */
  readonly withoutProxy: string
  readonly explicit: Readonly<Record<UpstreamName, Readonly<Record<string, string>>>>
  readonly transparent: Readonly<Record<UpstreamName, Readonly<Record<string, string>>>>
  /** `netkit proxy` on the host, without a guest. */
  readonly alone: Readonly<Record<UpstreamName, Readonly<Record<string, string>>>>
  /** The upstream switched while a download ran: its last line, what the next request saw, and how long the switch took to be seen. */
  readonly switched: Readonly<
    Record<'explicit' | 'transparent', { readonly last: string; readonly next: string }>
  >
  /** Tunnels and requests in the log of each proxy. */
  readonly logged: Readonly<
    Record<UpstreamName, { readonly tunnels: number; readonly requests: number }>
  >
  /** The hash of the large file. */
  readonly large: string
  readonly failures: Readonly<Record<string, number>>
}
