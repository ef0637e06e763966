/** What `dig` printed, as far as two answers can be compared. */

/** The status in dig's output; the whole output where it has none. */
export const digStatus = (text: string): string => /status: (\w+)/.exec(text)?.[1] ?? text

/** The lines of the answer section. */
function digRecords(text: string): string[] {
  const section = /;; ANSWER SECTION:\n([\s\S]*?)\n\n/.exec(text)?.[1]
  return section === undefined ? [] : section.split('\n')
}

/** The TTLs of the answer section, `s`. */
export const digTtls = (text: string): number[] =>
  digRecords(text).map((line) => Number(/^\S+\s+(\d+)/.exec(line)?.[1]))

/** Status and answer section, in an order of its own and without TTLs: those run while two are asked. */
export function digEssence(text: string): string {
  const records = digRecords(text).map((line) =>
    line.replace(/^(\S+)\s+\d+\s+/, '$1 ').replaceAll(/\s+/g, ' '),
  )
  return [digStatus(text), ...records.toSorted()].join('\n').trim()
}

/** Queries that a guest and the host are both asked, in dig's own words; the names are those of the office in these labs. */
export const DIG_QUERIES = [
  'wiki.corp.test A',
  'WIKI.Corp.Test A',
  'wiki.corp.test AAAA',
  'wiki.corp.test TXT',
  'wiki.corp.test TXT +tcp',
  'wiki.corp.test TXT +ignore +bufsize=512',
  'wiki.corp.test MX',
  'wiki.corp.test CAA',
  'wiki.corp.test HTTPS',
  'wiki.corp.test TYPE65535',
  'wiki.corp.test A +noedns',
  'wiki.corp.test NAPTR',
  '_ldap._tcp.corp.test SRV',
  '_ldap._tcp.corp.test SRV +tcp',
  '_ldap._tcp.corp.test SRV +bufsize=512',
  'alias.corp.test A',
  '-x 198.18.7.2',
  'missing.corp.test A',
] as const
