/**
 * What `scutil` prints of a property list: dictionaries, arrays, and words without their types.
 *
 * ```
 * <dictionary> {
 *   ExceptionsList : <array> {
 *     0 : *.local
 *   }
 *   HTTPPort : 8080
 * }
 * ```
 */

/** A printed value; arrays keep their order. */
export type PropertyValue = string | readonly PropertyValue[] | PropertyDictionary

/** A printed dictionary. */
export interface PropertyDictionary {
  readonly [key: string]: PropertyValue
}

/** Parses one printed dictionary. Never throws: lines that it does not know are left out, and what is cut off ends there. */
export function parsePropertyList(text: string): PropertyDictionary {
  const lines = text.split(/\r?\n/).values()
  for (const line of lines) {
    if (/^\s*<dictionary> \{\s*$/.test(line)) return dictionary(lines)
  }
  return {}
}

function dictionary(lines: IterableIterator<string>): PropertyDictionary {
  return Object.fromEntries(entries(lines))
}

function entries(lines: IterableIterator<string>): [string, PropertyValue][] {
  const found: [string, PropertyValue][] = []
  for (const line of iterate(lines)) {
    if (line.trim() === '}') return found
    const { key, value } = /^\s*(?<key>\S+) : (?<value>.*)$/.exec(line)?.groups ?? {}
    if (key === undefined || value === undefined) continue
    if (value === '<dictionary> {') found.push([key, dictionary(lines)])
    else if (value === '<array> {') found.push([key, entries(lines).map(([, item]) => item)])
    else found.push([key, value])
  }
  return found
}

// Unlike `for … of`, leaving does not end the iterator for whoever goes on with it.
function* iterate(lines: IterableIterator<string>): Generator<string> {
  for (let next = lines.next(); !next.done; next = lines.next()) yield next.value
}
