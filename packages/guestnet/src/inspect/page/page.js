/** The page: what the server tells by server-sent events, in tables and graphs. Nothing here asks anybody but this server. */

import { Graph } from './graph.js'
import { VirtualTable } from './virtual-table.js'

const DNS_ROWS = 2000
const DECISION_ROWS = 1000

const $ = (id) => document.getElementById(id)

// How things are written.

const bytes = (n) => {
  if (n === undefined) return ''
  if (n < 1000) return `${Math.round(n)} B`
  const unit = Math.min(4, Math.floor(Math.log10(n) / 3))
  return `${(n / 1000 ** unit).toFixed(n / 1000 ** unit < 10 ? 1 : 0)} ${['', 'kB', 'MB', 'GB', 'TB'][unit]}`
}
const perSecond = (n) => `${bytes(n)}/s`
const whole = (n) => Math.round(n).toLocaleString('en')
const duration = (ms) => {
  if (ms === undefined) return ''
  const s = Math.max(0, Math.round(ms / 1000))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
}
const millis = (ms) => (ms === undefined ? '' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`)
const time = (at) => new Date(at).toLocaleTimeString('en-GB')
const place = (at) => {
  if (at === undefined) return ''
  if (at.path !== undefined) return at.path
  return `${at.ip.includes(':') ? `[${at.ip}]` : at.ip}:${at.port}${at.protocol ? `/${at.protocol}` : ''}`
}

// Flows.

const flows = new Map()
const ended = (row) => row.state === 'closed'
const flowTone = (_value, row) =>
  row.reason !== '' && row.reason !== 'fin'
    ? 'bad'
    : ended(row)
      ? 'faint'
      : row.state === 'open'
        ? 'good'
        : 'warn'
const flowTable = new VirtualTable($('flow-table'), {
  label: 'Flows',
  none: 'No flow yet. Let a guest open a connection.',
  sort: { column: 7, down: true },
  onSelect: (row) => void showFlow(row),
  columns: [
    { title: 'Guest', value: (row) => row.guest },
    { title: 'Protocol', value: (row) => row.protocol, tone: () => 'faint' },
    { title: 'To', value: (row) => row.destination },
    { title: 'Name', value: (row) => row.name },
    {
      title: 'State',
      value: (row) => (row.reason ? `${row.state}: ${row.reason}` : row.state),
      tone: flowTone,
    },
    { title: 'Decision', value: (row) => row.decision },
    { title: 'Rule', value: (row) => row.rule },
    {
      title: 'Opened',
      value: (row) => row.opened,
      text: (at) => (at === undefined ? '' : time(at)),
      number: true,
    },
    { title: 'From guest', value: (row) => row.fromGuest, text: bytes, number: true },
    { title: 'To guest', value: (row) => row.toGuest, text: bytes, number: true },
    { title: 'RTT', value: (row) => row.rttMs, text: millis, number: true },
  ],
})

function showFlows() {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean)
  const all = $('ended').checked
  const shown = [...flows.values()].filter(
    (row) => (all || !ended(row)) && words.every((word) => row.text.includes(word)),
  )
  flowTable.show(shown)
  $('shown').textContent = `${whole(shown.length)} of ${whole(flows.size)} shown`
}

const list = (pairs) => {
  const dl = document.createElement('dl')
  for (const [term, text] of pairs) {
    const pair = document.createElement('div')
    pair.append(
      Object.assign(document.createElement('dt'), { textContent: term }),
      Object.assign(document.createElement('dd'), { textContent: text }),
    )
    dl.append(pair)
  }
  return dl
}

async function showFlow(row) {
  const detail = $('flow-detail')
  detail.hidden = false
  const why = Object.assign(document.createElement('div'), { className: 'explanation' })
  detail.replaceChildren(
    list([
      ['Guest', row.guest],
      ['From', row.source],
      ['To', row.destination],
      ['Name', row.name || '–'],
      ['Decision', row.decision || '–'],
      ['Rule', row.rule || '–'],
      ['Connect took', millis(row.connectMs) || '–'],
      ['Retransmits', row.retransmits ?? '–'],
      ['Ended by', row.reason || '–'],
    ]),
    why,
  )
  if (!row.destination.includes(':')) return
  // By its name where it has one: rules are about names as well.
  const port = row.destination.slice(row.destination.lastIndexOf(':'))
  const target = row.name === '' ? row.destination : row.name + port
  await explain(
    why,
    `explain/egress?${new URLSearchParams({ target, guest: row.guest })}`,
    ({ flows: asked }) =>
      asked.map(
        ({ flow, verdict }) =>
          `${place(flow.to)}: ${verdict.allow ? 'allowed' : 'denied'} by ${verdict.rule}. ${verdict.reason}`,
      ),
  )
}

// Explanations: the real chains, asked now.

async function explain(into, path, steps, answer) {
  into.textContent = '…'
  try {
    const response = await fetch(path)
    if (!response.ok) throw new Error((await response.text()).trim())
    const told = await response.json()
    const ol = document.createElement('ol')
    for (const step of steps(told))
      ol.append(Object.assign(document.createElement('li'), { textContent: step }))
    into.replaceChildren(
      ol,
      ...(answer
        ? [Object.assign(document.createElement('strong'), { textContent: answer(told) })]
        : []),
    )
  } catch (error) {
    into.replaceChildren(
      Object.assign(document.createElement('span'), {
        className: 'bad',
        textContent: error.message,
      }),
    )
  }
}

const explainDns = (query) =>
  explain(
    $('dns-explanation'),
    `explain/dns?${new URLSearchParams(query)}`,
    ({ steps }) => steps.map(({ layer, did }) => `${layer}: ${did}`),
    ({ answer, from }) => `${answer}  [${from}]`,
  )
const explainProxy = (query) =>
  explain(
    $('proxy-explanation'),
    `explain/proxy?${new URLSearchParams(query)}`,
    ({ steps }) =>
      steps.map(({ source, said, from }) => `${source}: ${said}${from ? ` (${from})` : ''}`),
    ({ decision }) =>
      decision.deny
        ? `denied by ${decision.deny.rule}: ${decision.deny.reason}`
        : decision.hops
            .map((hop) =>
              hop.via === 'direct' ? 'direct' : `${hop.via}://${hop.host}:${hop.port}`,
            )
            .join(', then '),
  )

// DNS and proxy.

let dnsRows = []
const dnsTable = new VirtualTable($('dns-table'), {
  label: 'DNS queries',
  none: 'No query yet.',
  onSelect: (row) => {
    const form = document.querySelector('[data-form="dns"]')
    Object.assign(form.elements.name, { value: row.name })
    Object.assign(form.elements.type, { value: row.type })
    Object.assign(form.elements.guest, { value: row.guest ?? '' })
    void explainDns({ name: row.name, type: row.type, guest: row.guest ?? '' })
  },
  columns: [
    { title: 'At', value: (row) => row.at, text: time },
    { title: 'Guest', value: (row) => row.guest },
    { title: 'Name', value: (row) => row.name },
    { title: 'Type', value: (row) => row.type },
    {
      title: 'Answer',
      value: (row) => row.rcode,
      tone: (code) => (code === 'NOERROR' ? 'good' : code === 'NXDOMAIN' ? 'warn' : 'bad'),
    },
    { title: 'From', value: (row) => row.from },
    { title: 'Took', value: (row) => row.tookMs, text: millis, number: true },
  ],
})
let decisionRows = []
const decisionTable = new VirtualTable($('proxy-table'), {
  label: 'Proxy decisions',
  none: 'No connection through the proxy yet.',
  onSelect: (row) => {
    const url = row.target.replace(/^tcp:/, 'https:')
    document.querySelector('[data-form="proxy"]').elements.url.value = url
    void explainProxy({ url, guest: row.guest ?? '' })
  },
  columns: [
    { title: 'At', value: (row) => row.at, text: time },
    { title: 'Guest', value: (row) => row.guest },
    { title: 'Asked as', value: (row) => row.kind },
    { title: 'Target', value: (row) => row.target },
    { title: 'Goes', value: (row) => row.way, tone: (way) => (way === 'denied' ? 'bad' : '') },
    { title: 'Source', value: (row) => row.source },
    { title: 'Why', value: (row) => row.reason },
  ],
})

// Ports, guests, leases.

const portTable = new VirtualTable($('port-table'), {
  label: 'Published ports',
  none: 'Nothing is published.',
  columns: [
    { title: 'Owner', value: (row) => row.owner },
    { title: 'On the host', value: (row) => place(row.address) },
    { title: 'Goes to', value: (row) => place(row.target) },
    {
      title: 'State',
      value: (row) => row.state,
      tone: (state) => (state === 'committed' ? 'good' : 'warn'),
    },
    { title: 'Open', value: (row) => row.open, number: true },
    { title: 'Taken', value: (row) => row.accepted, number: true },
    { title: 'Refused', value: (row) => row.refused + row.denied, number: true },
    { title: 'In', value: (row) => row.bytesIn, text: bytes, number: true },
    { title: 'Out', value: (row) => row.bytesOut, text: bytes, number: true },
    { title: 'For', value: (row) => row.ageMs, text: duration, number: true },
  ],
})
const dropped = ({ stats }) =>
  Object.entries(stats.dropped).map(([reason, count]) => `${reason} ${whole(count)}`)
const guestTable = new VirtualTable($('guest-table'), {
  label: 'Guests',
  none: 'No guest is attached.',
  columns: [
    { title: 'Guest', value: (row) => row.name },
    {
      title: 'Link',
      value: (row) => row.state,
      tone: (state) => (state === 'up' ? 'good' : 'warn'),
    },
    { title: 'Addresses', value: (row) => row.addresses.join(', ') },
    { title: 'MAC', value: (row) => row.macs.join(', ') },
    { title: 'Flows', value: (row) => row.flows, number: true },
    { title: 'Half open', value: (row) => row.halfOpen, number: true },
    { title: 'From guest', value: (row) => row.stats.bytesIn, text: bytes, number: true },
    { title: 'To guest', value: (row) => row.stats.bytesOut, text: bytes, number: true },
    { title: 'Dropped', value: (row) => dropped(row).join(', '), tone: () => 'faint' },
  ],
})
const leaseTable = new VirtualTable($('lease-table'), {
  label: 'DHCP leases',
  none: 'No lease was given.',
  columns: [
    { title: 'Address', value: (row) => row.ip },
    { title: 'MAC', value: (row) => row.mac },
    { title: 'Guest', value: (row) => row.guest },
    { title: 'Calls itself', value: (row) => row.hostName },
    { title: 'Ends in', value: (row) => row.remainingMs, text: duration, number: true },
  ],
})

// Graphs: what grew since the last second.

const graphs = {
  from: new Graph($('graphs'), 'From guests', perSecond),
  to: new Graph($('graphs'), 'To guests', perSecond),
  flows: new Graph($('graphs'), 'Flows', whole),
  dns: new Graph($('graphs'), 'DNS queries/s', whole),
  denied: new Graph($('graphs'), 'Denied/s', whole),
}
let last
function draw(state) {
  const sum = (key) => state.gateway.guests.reduce((total, guest) => total + guest.stats[key], 0)
  const now = {
    at: state.at,
    from: sum('bytesIn'),
    to: sum('bytesOut'),
    dns: state.dns?.queries.queries ?? 0,
    denied: state.egress.denied,
  }
  // While rows catch up, states come faster than once a second.
  if (last && now.at - last.at < 900) return
  const seconds = last ? Math.max(0.001, (now.at - last.at) / 1000) : 1
  for (const key of ['from', 'to', 'dns', 'denied'])
    graphs[key].add(last ? Math.max(0, now[key] - last[key]) / seconds : 0)
  graphs.flows.add(state.flows)
  last = now
}

const counters = (value, prefix = '') =>
  Object.entries(value ?? {}).flatMap(([key, entry]) =>
    typeof entry === 'object' && entry !== null
      ? counters(entry, `${prefix}${key} `)
      : [[`${prefix}${key}`, typeof entry === 'number' ? whole(entry) : String(entry)]],
  )

function showState(state) {
  const { gateway, ports, dns, proxy, egress } = state
  $('network').replaceChildren(
    ...list([
      ['Subnet', gateway.subnet],
      ['Gateway', gateway.address],
      ['Host', gateway.hostAlias ?? 'closed'],
    ]).children,
  )
  $('capture').hidden = state.captured === undefined
  $('capture').title = `${whole(state.captured ?? 0)} frames, for Wireshark`
  $('count-flows').textContent = whole(state.flows)
  $('count-ports').textContent = whole(ports.length)
  $('count-guests').textContent = whole(gateway.guests.length)
  portTable.show(ports)
  guestTable.show(gateway.guests)
  leaseTable.show(gateway.leases)
  const parts = { Egress: egress, DNS: dns, Proxy: proxy }
  if (!$('counters').hidden)
    $('counter-lists').replaceChildren(
      ...Object.entries(parts)
        .filter(([, part]) => part)
        .flatMap(([title, part]) => [
          Object.assign(document.createElement('h2'), { textContent: title }),
          list(counters(part)),
        ]),
    )
  draw(state)
}

// What the server tells.

function tellLink(state, text) {
  $('link').dataset.state = state
  if ($('link').textContent !== text) $('link').textContent = text
}

function listen() {
  const source = new EventSource('events')
  const on = (event, run) => source.addEventListener(event, ({ data }) => run(JSON.parse(data)))
  source.addEventListener('open', () => {
    // A new stream tells everything from the start.
    flows.clear()
    dnsRows = []
    decisionRows = []
    last = undefined
    tellLink('live', 'live')
  })
  source.addEventListener('error', () =>
    source.readyState === EventSource.CLOSED
      ? tellLink('lost', 'netkit turned this page away, or has ended')
      : tellLink('lost', 'lost; connecting again …'),
  )
  on('state', showState)
  on('flows', ({ rows, gone }) => {
    const now = Date.now()
    for (const id of gone) flows.delete(id)
    for (const row of rows) {
      row.opened = row.ageMs === undefined ? undefined : now - row.ageMs
      row.text =
        `${row.guest} ${row.protocol} ${row.source} ${row.destination} ${row.name} ${row.state} ${row.decision} ${row.rule} ${row.reason}`.toLowerCase()
      flows.set(row.id, row)
    }
    showFlows()
  })
  on('dns', (entries) => {
    for (const entry of entries) entry.id = entry.number
    dnsRows = [...entries.toReversed(), ...dnsRows].slice(0, DNS_ROWS)
    dnsTable.show(dnsRows)
  })
  on('decisions', (entries) => {
    for (const entry of entries) entry.id = entry.number
    decisionRows = [...entries.toReversed(), ...decisionRows].slice(0, DECISION_ROWS)
    decisionTable.show(decisionRows)
  })
}

// Tabs, by mouse and by arrow keys.

const tabs = [...document.querySelectorAll('[role="tab"]')]
function choose(tab) {
  for (const each of tabs) {
    const chosen = each === tab
    each.ariaSelected = String(chosen)
    each.tabIndex = chosen ? 0 : -1
    $(each.getAttribute('aria-controls')).hidden = !chosen
  }
}
for (const [i, tab] of tabs.entries()) {
  tab.type = 'button'
  tab.addEventListener('click', () => choose(tab))
  tab.addEventListener('keydown', ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key]
    if (!step) return
    const next = tabs[(i + step + tabs.length) % tabs.length]
    choose(next)
    next.focus()
  })
}
choose(tabs[0])

$('filter').addEventListener('input', showFlows)
$('ended').addEventListener('change', showFlows)
for (const form of document.querySelectorAll('[data-form]')) {
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const query = Object.fromEntries(new FormData(form))
    if (form.dataset.form === 'dns') void explainDns(query)
    if (form.dataset.form === 'proxy') void explainProxy(query)
  })
}
listen()
