/** Recordings name where they were published or made; the others are constructed from the documented form. */

import { ManualClock } from '@netkit/core'
import { fakeFiles, fakeProcesses } from '@netkit/core/node'
import type { FakeProcess } from '@netkit/core/node'
import { describe, expect, test } from 'vitest'
import { settingsSource } from '../proxy-settings.ts'
import type { ProxySettings } from '../proxy-settings.ts'
import { fileSettings } from './file-settings.ts'
import { gnomeSettings, parseGsettings } from './gnome-settings.ts'
import { hostSettings } from './host-settings.ts'
import { kdeSettings, parseKioslaverc } from './kde-settings.ts'
import { macSettings, parseScutilProxy } from './mac-settings.ts'
import { windowsProxySettings, windowsSettings } from './windows-settings.ts'

const http = (host: string, port: number) => ({ via: 'http', host, port }) as const
const socks = (host: string, port: number) => ({ via: 'socks5', host, port }) as const

describe('scutil --proxy', () => {
  // https://github.com/yaklang/yakit/issues/2164: a Mac without a proxy.
  const NONE =
    '<dictionary> {\n  ExceptionsList : <array> {\n    0 : *.local\n    1 : 169.254/16\n  }\n  FTPPassive : 1\n}\n'
  // https://github.com/httptoolkit/httptoolkit/issues/151: a Mac in a company's VPN.
  const PAC =
    '<dictionary> {\n  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://wpad.company.com/wpad.dat\n}\n'
  // Constructed.
  const MANUAL = `<dictionary> {
  ExceptionsList : <array> {
    0 : *.corp.test
    1 : 10/8
  }
  ExcludeSimpleHostnames : 1
  HTTPEnable : 1
  HTTPPort : 8080
  HTTPProxy : proxy.corp.test
  HTTPSEnable : 1
  HTTPSPort : 8443
  HTTPSProxy : 2001:db8::1
  HTTPUser : me
  SOCKSEnable : 0
  SOCKSPort : 1080
  SOCKSProxy : socks.corp.test
  ProxyAutoDiscoveryEnable : 1
  __SCOPED__ : <dictionary> {
    en0 : <dictionary> {
      HTTPEnable : 1
      HTTPProxy : other.test
      HTTPPort : 1
    }
  }
}
`
  test('no proxy, with its exceptions', () => {
    expect(parseScutilProxy(NONE)).toEqual({
      exceptions: ['*.local', '169.254/16'],
      exceptionOptions: { simpleNames: false },
      ignored: [],
    })
  })

  test('a script', () => {
    expect(parseScutilProxy(PAC).pacUrl).toBe('http://wpad.company.com/wpad.dat')
  })

  test('proxies by scheme; what is off, scoped to an interface or in the keychain is not taken', () => {
    expect(parseScutilProxy(MANUAL)).toEqual({
      http: http('proxy.corp.test', 8080),
      https: http('2001:db8::1', 8443),
      exceptions: ['*.corp.test', '10/8'],
      exceptionOptions: { simpleNames: true },
      ignored: [
        'HTTPUser: its password is in the keychain',
        'ProxyAutoDiscoveryEnable: WPAD is not followed',
      ],
    })
  })

  test.each([
    ['nothing', ''],
    ['an error', 'No such key\n'],
    ['what is cut off', MANUAL.slice(0, 60)],
    [
      'a proxy without a name',
      '<dictionary> {\n  HTTPEnable : 1\n  HTTPProxy : \n  HTTPPort : 80\n}\n',
    ],
    [
      'none as a name',
      '<dictionary> {\n  HTTPEnable : 1\n  HTTPProxy : none\n  HTTPPort : 80\n}\n',
    ],
  ])('%s names no proxy', (_name, text) => {
    const { http: one, https: two, all, pacUrl } = parseScutilProxy(text)
    expect([one, two, all, pacUrl]).toEqual([undefined, undefined, undefined, undefined])
  })

  test('a change is seen 100 ms after scutil speaks, and nothing is told when nothing changed', async () => {
    const clock = new ManualClock()
    let text = NONE
    const { start, started } = fakeProcesses((process) => {
      if (process.args[0] === '--proxy') end(process, text)
    })
    const live = await macSettings({ start, clock })
    const watcher = started.find(({ args }) => args.length === 0)
    expect(watcher?.input).toContain('n.add State:/Network/Global/Proxies\n')
    let changes = 0
    live.onChange(() => changes++)
    text = MANUAL
    watcher?.print('  changedKey [0] = State:/Network/Global/Proxies\n')
    await clock.advance(99)
    expect(live.current.http).toBe(undefined)
    await clock.advance(1)
    expect(live.current.http).toEqual(http('proxy.corp.test', 8080))
    watcher?.print('  changedKey [0] = State:/Network/Global/Proxies\n')
    await clock.advance(100)
    expect(changes).toBe(1)
    await live.close()
    expect([watcher?.killed, clock.pending]).toEqual([true, 0])
  })

  test('a lost event is made up for by reading every 5 s; a scutil that fails keeps what was known', async () => {
    const clock = new ManualClock()
    let text: string | undefined = MANUAL
    const { start } = fakeProcesses((process) => {
      if (process.args[0] !== '--proxy') return
      if (text === undefined) process.exit()
      else end(process, text)
    })
    await using live = await macSettings({ start, clock })
    expect(live.origin).toEqual({ source: 'scutil --proxy', changes: 'events', pollMs: 5000 })
    text = undefined
    await clock.advance(5000)
    expect(live.current.http?.port).toBe(8080)
    text = NONE
    await clock.advance(5000)
    expect(live.current.http).toBe(undefined)
  })
})

function end(process: FakeProcess, text: string): void {
  process.print(text)
  process.exit()
}

const line = (ProxyServer: string): string =>
  `${JSON.stringify({ user: { ProxyEnable: 1, ProxyServer } })}\r\n`

describe('Internet Settings', () => {
  test.each([
    // https://github.com/CHEF-KOCH/regtweaks/issues/4
    [
      'a URL, and <local>',
      { ProxyEnable: 1, ProxyServer: 'http://ProxyServername:80', ProxyOverride: '<local>' },
      { all: http('proxyservername', 80), exceptions: ['<local>'] },
    ],
    // https://github.com/gentoo90/winreg-rs/issues/50
    [
      'only SOCKS',
      { ProxyEnable: 1, ProxyServer: 'socks=127.0.0.1:1080' },
      { all: socks('127.0.0.1', 1080), exceptions: [] },
    ],
    // https://github.com/desktop/desktop/issues/8546
    ['off', { ProxyEnable: 0, ProxyOverride: 'local' }, { exceptions: ['local'] }],
    // Constructed.
    [
      'one each',
      { ProxyEnable: 1, ProxyServer: 'http=a.test:1;https=b.test:2;ftp=c.test:3;socks=d.test:4' },
      {
        http: http('a.test', 1),
        https: http('b.test', 2),
        all: socks('d.test', 4),
        exceptions: [],
      },
    ],
    // The sentinel of https://github.com/docker/for-win/issues/14645.
    [
      'http://none',
      { ProxyEnable: 1, ProxyServer: 'http://none' },
      { exceptions: [], ignored: ['ProxyServer http://none'] },
    ],
  ])('%s', (_name, user, wanted) => {
    expect(windowsProxySettings({ user })).toEqual({
      ignored: [],
      exceptionOptions: { suffixes: false },
      ...wanted,
    })
  })

  test('the machine’s settings hold where a policy says so', () => {
    // https://github.com/carsonyl/pypac/pull/85: a machine that is managed, with a script and ProxyEnable 0.
    const machine = { ProxyEnable: 0, AutoConfigURL: 'http://pac.corp.test/proxy.pac' }
    const user = { ProxyEnable: 1, ProxyServer: 'mine.test:1' }
    expect(windowsProxySettings({ perUser: 0, user, machine }).pacUrl).toBe(machine.AutoConfigURL)
    expect(windowsProxySettings({ perUser: null, user, machine }).all).toEqual(http('mine.test', 1))
  })

  test('automatic detection is told', () => {
    // The ninth byte of https://github.com/chentiangemalc/ProxyUtils/issues/1 with the bit for detection.
    expect(windowsProxySettings({ user: {}, flags: 9 }).ignored).toEqual([
      'automatic detection: WPAD is not followed',
    ])
  })

  test('a line of PowerShell is what holds from then on; nonsense is passed over', async () => {
    const { start, started } = fakeProcesses((process) => process.print(line('one.test:1')))
    const live = await windowsSettings({ start, clock: new ManualClock() })
    const [shell] = started
    expect(shell?.args.at(-1)).toContain('RegistryTreeChangeEvent')
    expect(live.current.all).toEqual(http('one.test', 1))
    const next = line('two.test:2')
    shell?.print(`Get-ItemProperty : something\r\n{"half\r\n${next.slice(0, 9)}`)
    expect(live.current.all).toEqual(http('one.test', 1))
    shell?.print(next.slice(9))
    expect(live.current.all).toEqual(http('two.test', 2))
    await live.close()
    expect(shell?.killed).toBe(true)
  })

  test('without PowerShell there are no settings, and it is tried again', async () => {
    const clock = new ManualClock()
    const { start, started } = fakeProcesses((process) => process.exit())
    await using live = await windowsSettings({ start, clock })
    expect(live.current).toEqual({})
    await clock.advance(1000)
    expect(started).toHaveLength(2)
  })
})

describe('org.gnome.system.proxy', () => {
  // Recorded from gsettings 2.74 with gsettings-desktop-schemas 43 (Debian 12), as installed and after three `gsettings set`.
  const FRESH = `org.gnome.system.proxy autoconfig-url ''
org.gnome.system.proxy ignore-hosts ['localhost', '127.0.0.0/8', '::1']
org.gnome.system.proxy mode 'none'
org.gnome.system.proxy use-same-proxy true
org.gnome.system.proxy.ftp host ''
org.gnome.system.proxy.ftp port 0
org.gnome.system.proxy.http authentication-password ''
org.gnome.system.proxy.http authentication-user ''
org.gnome.system.proxy.http enabled false
org.gnome.system.proxy.http host ''
org.gnome.system.proxy.http port 8080
org.gnome.system.proxy.http use-authentication false
org.gnome.system.proxy.https host ''
org.gnome.system.proxy.https port 0
org.gnome.system.proxy.socks host ''
org.gnome.system.proxy.socks port 0
`
  const SET = FRESH.replace("mode 'none'", "mode 'manual'")
    .replace("proxy.http host ''", "proxy.http host 'proxy.example'")
    .replace('port 8080', 'port 3128')
  const hosts = ['localhost', '127.0.0.0/8', '::1']

  test.each<[string, string, ProxySettings]>([
    ['none', FRESH, { ignored: [] }],
    [
      'manual: the proxy of HTTP serves all',
      SET,
      {
        http: http('proxy.example', 3128),
        all: http('proxy.example', 3128),
        exceptions: hosts,
        ignored: [],
      },
    ],
    [
      'each its own, with credentials (constructed)',
      SET.replace('use-same-proxy true', 'use-same-proxy false')
        .replace("https host ''", "https host 'two.example'")
        .replace('https port 0', 'https port uint32 8443')
        .replace("socks host ''", "socks host '2001:db8::7'")
        .replace('socks port 0', 'socks port 1080')
        .replace('use-authentication false', 'use-authentication true')
        .replace("user ''", "user 'me'")
        .replace("password ''", String.raw`password "it's \"it\""`),
      {
        http: {
          ...http('proxy.example', 3128),
          credentials: { username: 'me', password: 'it\'s "it"' },
        },
        https: http('two.example', 8443),
        all: socks('2001:db8::7', 1080),
        exceptions: hosts,
        ignored: [],
      },
    ],
    [
      'a script (constructed)',
      FRESH.replace("mode 'none'", "mode 'auto'").replace(
        "autoconfig-url ''",
        "autoconfig-url 'http://pac.example/p.pac'",
      ),
      { pacUrl: 'http://pac.example/p.pac', exceptions: hosts, ignored: [] },
    ],
    [
      'automatic detection (constructed)',
      FRESH.replace("mode 'none'", "mode 'auto'"),
      { ignored: ['mode auto without a URL: WPAD is not followed'] },
    ],
    ['nonsense', 'No such schema\norg.gnome.system.proxy mode\n', { ignored: [] }],
  ])('%s', (_name, text, wanted) => {
    expect(parseGsettings(text)).toEqual(wanted)
  })

  test('a change of any of its schemas is seen 100 ms after its monitor speaks', async () => {
    const clock = new ManualClock()
    let text = FRESH
    const { start, started } = fakeProcesses((process) => {
      if (process.args[0] === 'list-recursively') end(process, text)
    })
    const live = await gnomeSettings({ start, clock })
    const monitors = started.filter(({ args }) => args[0] === 'monitor')
    expect(monitors.map(({ args }) => args[1]?.split('.').at(-1))).toEqual([
      'proxy',
      'http',
      'https',
      'socks',
    ])
    text = SET
    // As recorded: the monitor of http prints its keys while that of the parent prints the mode.
    monitors[0]?.print("mode: 'manual'\n")
    await clock.advance(50)
    monitors[1]?.print("host: 'proxy.example'\nport: 3128\n")
    await clock.advance(100)
    expect(live?.current.http).toEqual(http('proxy.example', 3128))
    await live?.close()
    expect(monitors.map(({ killed }) => killed)).toEqual([true, true, true, true])
  })
})

// Constructed from the keys of KProtocolManager.
const rc = (lines: string): string => `[Other]\nProxyType=9\n\n[Proxy Settings]\n${lines}\n`

describe('kioslaverc', () => {
  test.each<[string, string, ProxySettings]>([
    ['none', rc('ProxyType=0\nhttpProxy=http://proxy.test 8080'), { ignored: [] }],
    [
      'manual, ports after a space',
      rc(
        'NoProxyFor=localhost,.corp.test\nProxyType=1\nReversedException=false\nhttpProxy=http://proxy.test 8080\nhttpsProxy=https://[2001:db8::1]:8443\nsocksProxy=socks://s.test 1080',
      ),
      {
        http: http('proxy.test', 8080),
        https: { via: 'https', host: '2001:db8::1', port: 8443 },
        all: socks('s.test', 1080),
        exceptions: ['localhost', '.corp.test'],
        ignored: [],
      },
    ],
    [
      'only the exceptions go through the proxy',
      rc('ProxyType[$e]=1\nhttpProxy=proxy.test:1\nNoProxyFor=only.test\nReversedException=true'),
      { http: http('proxy.test', 1), exceptions: ['only.test'], onlyExceptions: true, ignored: [] },
    ],
    [
      'a script on disk',
      rc('ProxyType=2\nProxy Config Script=/etc/proxy.pac'),
      { pacUrl: 'file:///etc/proxy.pac', ignored: [] },
    ],
    ['detection', rc('ProxyType=3'), { ignored: ['ProxyType 3: WPAD is not followed'] }],
    [
      'names of variables',
      rc('ProxyType=4\nhttpProxy=CORP_PROXY\nNoProxyFor=CORP_NO_PROXY'),
      { http: http('env.test', 3128), exceptions: ['a.test'], ignored: [] },
    ],
    [
      'nonsense',
      rc('ProxyType=1\nhttpProxy=http://me:secret@ 0'),
      { exceptions: [], ignored: ['httpProxy=http://…@ 0'] },
    ],
  ])('%s', (_name, text, wanted) => {
    const environment = { CORP_PROXY: 'http://env.test:3128', CORP_NO_PROXY: 'a.test' }
    expect(parseKioslaverc(text, environment)).toEqual(wanted)
  })

  test('a change of the file is seen after 100 ms; the user’s file comes before the system’s', async () => {
    const clock = new ManualClock()
    const files = fakeFiles({ '/etc/xdg/kioslaverc': rc('ProxyType=1\nhttpProxy=sys.test:1') })
    await using live = await kdeSettings({ environment: { HOME: '/home/me' }, files, clock })
    expect(live.current.http?.host).toBe('sys.test')
    files.write('/home/me/.config/kioslaverc', rc('ProxyType=1\nhttpProxy=mine.test:1'))
    await clock.advance(100)
    expect(live.current.http?.host).toBe('mine.test')
  })
})

describe('a file of variables', () => {
  test('quotes, export and comments; it may come and go', async () => {
    const clock = new ManualClock()
    const files = fakeFiles()
    await using live = await fileSettings({ files, clock })
    expect(live.current).toEqual({ exceptions: [], ignored: [] })
    files.write(
      '/etc/environment',
      'PATH="/bin"\nexport http_proxy="http://a.test:1"\nhttps_proxy=b.test:2 # office\nno_proxy=\'c.test,d.test\'\n# all_proxy=x\n',
    )
    await clock.advance(100)
    expect(live.current).toEqual({
      http: http('a.test', 1),
      https: http('b.test', 2),
      exceptions: ['c.test,d.test'],
      ignored: [],
    })
    files.texts.delete('/etc/environment')
    await clock.advance(5000)
    expect(live.current.http).toBe(undefined)
  })
})

describe('the host', () => {
  test.each([
    ['darwin', undefined, 'scutil --proxy'],
    ['win32', undefined, 'Internet Settings'],
    ['linux', 'KDE', 'kioslaverc'],
    ['linux', 'ubuntu:GNOME', 'gsettings org.gnome.system.proxy'],
    ['linux', 'X-Cinnamon', 'gsettings org.gnome.system.proxy'],
    ['linux', 'sway', '/etc/environment'],
  ] as const)('%s with %s is read from its own place', async (platform, desktop, source) => {
    const { start } = fakeProcesses((process) => {
      if (process.args[0] === 'list-recursively')
        end(process, "org.gnome.system.proxy mode 'none'\n")
      if (process.args[0] === '--proxy') end(process, '<dictionary> {\n}\n')
      if (process.command === 'powershell.exe') process.print('{}\n')
    })
    const environment = { HOME: '/home/me', XDG_CURRENT_DESKTOP: desktop }
    const clock = new ManualClock()
    const files = fakeFiles()
    await using live = await hostSettings({ platform, environment, start, files, clock })
    expect(live.origin.source).toBe(source)
  })

  test('GNOME without gsettings falls back to the file', async () => {
    const { start } = fakeProcesses((process) => process.exit())
    const environment = { XDG_CURRENT_DESKTOP: 'GNOME' }
    const files = fakeFiles({ '/etc/environment': 'all_proxy=socks5://s.test' })
    const clock = new ManualClock()
    await using live = await hostSettings({ platform: 'linux', environment, start, files, clock })
    expect(live.current.all).toEqual(socks('s.test', 1080))
    const source = settingsSource('system', live)
    expect(source.describe?.()).toBe('/etc/environment, followed by events and every 5 s')
  })
})
