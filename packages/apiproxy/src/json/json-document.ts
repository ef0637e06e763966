/**
 * Edits of JSON text that touch nothing else: unknown fields, the text of numbers and the order of keys stay as they came.
 *
 * What is looked up must be what the engine will see. Its decoder (Go's encoding/json) matches keys without case, letters that fold
 * to ASCII included, and merges keys that stand twice; a body with such a pair on the way to what is looked up is refused.
 */

import { NetkitError } from '@netkit/core'
import { parseTree } from 'jsonc-parser'
import type { Node, ParseError } from 'jsonc-parser'

/** Deeper than any request of Docker's; Go refuses 10,000. */
const DEPTH = 64

function invalid(why: string): NetkitError {
  return new NetkitError('NETKIT_API_JSON', `the request's JSON ${why}`)
}

// The two letters outside ASCII that Unicode folds to ASCII ones: long s and the Kelvin sign.
const fold = (key: string): string =>
  key.replaceAll('\u017F', 's').replaceAll('\u212A', 'k').toLowerCase()

/** A value in a document. */
export class JsonValue {
  readonly #document: JsonDocument
  readonly #node: Node

  constructor(document: JsonDocument, node: Node) {
    this.#document = document
    this.#node = node
  }

  /** The field of an object as the engine finds it; `undefined` when there is none, or when it is `null`. */
  field(name: string): JsonValue | undefined {
    if (this.#node.type !== 'object') return undefined
    const found = (this.#node.children ?? []).filter((child) => keyIs(child, name))
    if (found.length > 1) throw invalid(`names '${name}' more than once`)
    const value = found[0]?.children?.[1]
    return value === undefined || value.type === 'null'
      ? undefined
      : new JsonValue(this.#document, value)
  }

  /** The elements of an array; none of anything else. */
  get items(): readonly JsonValue[] {
    if (this.#node.type !== 'array') return []
    return (this.#node.children ?? []).map((child) => new JsonValue(this.#document, child))
  }

  /** The values of an object with their keys. */
  get entries(): readonly (readonly [string, JsonValue])[] {
    if (this.#node.type !== 'object') return []
    return (this.#node.children ?? []).flatMap(({ children }) =>
      children?.[1] === undefined
        ? []
        : [[String(children[0]?.value), new JsonValue(this.#document, children[1])] as const],
    )
  }

  /** For `JsonDocument.refuseAmbiguousKeys`. */
  refuseAmbiguousKeys(): void {
    const keys = new Set<string>()
    for (const [key, value] of this.entries) {
      if (keys.has(fold(key))) throw invalid(`names '${key}' more than once`)
      keys.add(fold(key))
      value.refuseAmbiguousKeys()
    }
    for (const item of this.items) item.refuseAmbiguousKeys()
  }

  /** The text of a string; `undefined` for anything else. */
  get text(): string | undefined {
    return this.#node.type === 'string' ? String(this.#node.value) : undefined
  }

  /** The value of a number; `undefined` for anything else. */
  get number(): number | undefined {
    return this.#node.type === 'number' ? Number(this.#node.value) : undefined
  }

  /** Puts a string in its place. */
  replace(text: string): void {
    this.replaceJson(text)
  }

  /** Puts any JSON in its place. Nothing inside may be edited besides. */
  replaceJson(json: unknown): void {
    this.#document.edit(this.#node.offset, this.#node.length, JSON.stringify(json))
  }

  /** Sets a field of an object, whether it is there, `null` or missing. */
  set(name: string, json: unknown): void {
    const { children = [], offset } = this.#node
    const value = children.find((child) => keyIs(child, name))?.children?.[1]
    if (value) this.#document.edit(value.offset, value.length, JSON.stringify(json))
    else {
      const text = `${JSON.stringify(name)}:${JSON.stringify(json)}${children.length > 0 ? ',' : ''}`
      this.#document.edit(offset + 1, 0, text)
    }
  }

  /** Takes a field out of an object. Only one may be taken out of each. */
  remove(name: string): void {
    const { children = [] } = this.#node
    const at = children.findIndex((child) => keyIs(child, name))
    const [before, own, after] = [children[at - 1], children[at], children[at + 1]]
    if (own === undefined) return
    const first = after === undefined && before ? before.offset + before.length : own.offset
    const end = after?.offset ?? own.offset + own.length
    this.#document.edit(first, end - first, '')
  }
}

const keyIs = ({ children }: Node, name: string): boolean =>
  fold(String(children?.[0]?.value)) === fold(name)

/** One JSON text and the edits to it. */
export class JsonDocument {
  readonly root: JsonValue
  readonly #text: string
  readonly #edits: { offset: number; length: number; text: string }[] = []

  /** @throws NetkitError `NETKIT_API_JSON` when it is not JSON, or not UTF-8. */
  constructor(bytes: Uint8Array) {
    try {
      this.#text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    } catch (cause) {
      throw new NetkitError('NETKIT_API_JSON', "the request's JSON is not UTF-8", { cause })
    }
    checkDepth(this.#text)
    const errors: ParseError[] = []
    const node = parseTree(this.#text, errors, { disallowComments: true })
    if (node === undefined || errors.length > 0) throw invalid('cannot be read')
    this.root = new JsonValue(this, node)
  }

  /** @throws NetkitError `NETKIT_API_JSON` when an object anywhere names a key twice as the engine reads keys. */
  refuseAmbiguousKeys(): void {
    this.root.refuseAmbiguousKeys()
  }

  /** Whether anything was changed. */
  get changed(): boolean {
    return this.#edits.length > 0
  }

  /** For `JsonValue`. */
  edit(offset: number, length: number, text: string): void {
    this.#edits.push({ offset, length, text })
  }

  /** The text with its edits. */
  bytes(): Uint8Array {
    let text = ''
    let at = 0
    for (const edit of this.#edits.toSorted((a, b) => a.offset - b.offset)) {
      text += this.#text.slice(at, edit.offset) + edit.text
      at = edit.offset + edit.length
    }
    return new TextEncoder().encode(text + this.#text.slice(at))
  }
}

/** The parser calls itself per level: a body of brackets alone must not overflow the stack. */
function checkDepth(text: string): void {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (inString) {
      if (character === '\\') i++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{' || character === '[') {
      if (++depth > DEPTH) throw invalid(`is nested deeper than ${DEPTH} levels`)
    } else if (character === '}' || character === ']') depth--
  }
}
