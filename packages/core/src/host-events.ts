/** What happens to the host that flows, caches and proxies care about. */

/** One event of the host. */
export type HostEvent =
  /** Addresses, interfaces or routes changed. */
  | { readonly kind: 'network' }
  /** The resolver configuration changed. */
  | { readonly kind: 'resolvers' }
  /** The proxy settings changed. */
  | { readonly kind: 'proxy' }
  /** The host slept: `now()` and `wall()` of the clock disagree by `sleptMs`. */
  | { readonly kind: 'wake'; readonly sleptMs: number }

/** Tells of changes to the host. */
export interface HostEvents {
  /** Runs `run` for each event; returns what removes the listener. */
  on(run: (event: HostEvent) => void): () => void
}
