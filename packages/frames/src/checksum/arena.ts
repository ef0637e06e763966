/**
 * Memory that Wasm can sum where it lies.
 *
 * ```
 *   one WebAssembly.Memory per process, reserved once
 *   ┌─────────┬───────┬───────┬──────────────┬───────────────────────────┐
 *   │ scratch │ chunk │ chunk │ chunk …      │ never touched: no memory  │
 *   └─────────┴───────┴───────┴──────────────┴───────────────────────────┘
 *     foreign   blocks of the data path        ▲ top
 *     bytes
 * ```
 *
 * The memory never grows, as growing would detach every view over it. Pages cost nothing until they are written. A chunk
 * that is released goes to a free list of its size; when the reserve is used up, or there is no Wasm, memory comes from the
 * JavaScript heap: everything works, sums are slower.
 *
 * Two ways lead a chunk back. `release` is what a `BlockPool` calls for a block that it does not keep. A pool that is dropped
 * as a whole releases nothing, so the garbage collector gives back what nobody can reach any more.
 *
 * A view over the arena must not be passed to `postMessage` or `structuredClone`, which would copy the whole reserve: copy
 * the bytes first.
 */

import type { Block } from '@netkit/core'
import { ARENA_BYTES, ARENA_MIN_BYTES, ARENA_SCRATCH_BYTES } from '../limits.ts'
import { SUM_SIMD_WASM } from './sum-simd.generated.ts'

/** The part of WebAssembly that is used; absent where the platform has none. */
export interface WebAssemblyApi {
  Memory: new (size: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
  Module: new (bytes: Uint8Array) => object
  Instance: new (
    module: object,
    imports: Record<string, Record<string, object>>,
  ) => { readonly exports: MemoryOperations }
}

/** What the Wasm module does, on addresses of its memory; sums are not folded. */
export interface MemoryOperations {
  sum: (at: number, length: number) => number
  copySum: (to: number, at: number, length: number) => number
  copy: (to: number, at: number, length: number) => void
}

const platform = globalThis as { WebAssembly?: WebAssemblyApi }

const PAGE_BYTES = 65_536
/** Chunks start and end at cache lines. */
const ALIGNMENT_BYTES = 64

interface Chunk {
  readonly address: number
  readonly size: number
}

/** How much of an arena is in use. */
export interface ArenaStats {
  /** Bytes reserved; 0 where there is no Wasm. */
  reservedBytes: number
  /** Bytes that were handed out at least once: the most that the arena costs. */
  touchedBytes: number
  /** Bytes handed out now. */
  usedBytes: number
  /** Allocations that the JavaScript heap served. */
  heapAllocations: number
}

/** A reserve of memory with the Wasm that sums it. The package has one; more are for tests. */
export class Arena {
  readonly #buffer: ArrayBuffer | undefined
  readonly #operations: MemoryOperations
  readonly #scratch: Uint8Array
  readonly #chunks = new WeakMap<Uint8Array, Chunk>()
  readonly #free = new Map<number, Chunk[]>()
  readonly #lost = new FinalizationRegistry<Chunk>((chunk) => {
    this.#recycle(chunk)
  })
  #top = ARENA_SCRATCH_BYTES
  #used = 0
  #heapAllocations = 0
  // Sums and copies come in runs over one block, or from one to another: their addresses are looked up once.
  #lastBlock: Block | undefined
  #lastAddress = -1
  #lastTarget: Block | undefined
  #lastTargetAddress = -1

  /**
   * @param reserve - Bytes to reserve, a multiple of 64 KiB; half as many, and so on, if the platform refuses.
   * @param wasm - The platform's WebAssembly, `null` where it has none.
   */
  constructor(reserve: number, wasm: WebAssemblyApi | null = platform.WebAssembly ?? null) {
    const engine = wasm === null ? undefined : instantiate(wasm, reserve)
    this.#buffer = engine?.buffer
    this.#operations = engine?.operations ?? NOTHING
    this.#scratch = new Uint8Array(engine?.buffer ?? new ArrayBuffer(0)).subarray(
      0,
      ARENA_SCRATCH_BYTES,
    )
  }

  /** `size` bytes, of the arena if it has them, else of the heap. The contents are arbitrary. */
  readonly allocate = (size: number): Uint8Array => {
    const chunk = this.#take(Math.ceil(size / ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
    if (this.#buffer === undefined || chunk === undefined) {
      this.#heapAllocations++
      return new Uint8Array(size)
    }
    const bytes = new Uint8Array(this.#buffer, chunk.address, size)
    this.#chunks.set(bytes, chunk)
    this.#lost.register(bytes, chunk, bytes)
    return bytes
  }

  /** Takes back what `allocate` gave; nobody may use it afterwards. Anything else is left to the garbage collector. */
  readonly release = (bytes: Uint8Array): void => {
    const chunk = this.#chunks.get(bytes)
    if (chunk === undefined) return
    this.#chunks.delete(bytes)
    this.#lost.unregister(bytes)
    this.#recycle(chunk)
  }

  /** Where the block lies in the arena, or -1 if it is foreign memory. */
  addressOf(block: Block): number {
    if (block === this.#lastBlock) return this.#lastAddress
    this.#lastBlock = block
    const { view } = block
    return (this.#lastAddress = view.buffer === this.#buffer ? view.byteOffset : -1)
  }

  /** The same for a block that is copied to. */
  #targetAddressOf(block: Block): number {
    if (block === this.#lastTarget) return this.#lastTargetAddress
    this.#lastTarget = block
    const { view } = block
    return (this.#lastTargetAddress = view.buffer === this.#buffer ? view.byteOffset : -1)
  }

  /** Copies between two blocks. False: they are not both in the arena, and nothing was done. */
  copy(from: Block, start: number, to: Block, at: number, length: number): boolean {
    const source = this.addressOf(from)
    const target = this.#targetAddressOf(to)
    if (source < 0 || target < 0 || outside(from, start, to, at, length)) return false
    this.#operations.copy(target + at, source + start, length)
    return true
  }

  /** Copies between two blocks that do not overlap, and sums as `sumAt` does. -1: they are not both in the arena. */
  copySum(from: Block, start: number, to: Block, at: number, length: number): number {
    const source = this.addressOf(from)
    const target = this.#targetAddressOf(to)
    if (source < 0 || target < 0 || outside(from, start, to, at, length)) return -1
    return this.#operations.copySum(target + at, source + start, length) >>> 0
  }

  /** Whether there is Wasm to sum with. */
  get accelerated(): boolean {
    return this.#buffer !== undefined
  }

  /** The sum of `length` bytes from `address` as little-endian words, not folded: u32. */
  sumAt(address: number, length: number): number {
    return this.#operations.sum(address, length) >>> 0
  }

  /** The same of foreign bytes, which are copied in first; at most `ARENA_SCRATCH_BYTES`. */
  sumForeign(bytes: Uint8Array, offset: number, length: number): number {
    this.#scratch.set(bytes.subarray(offset, offset + length))
    return this.sumAt(0, length)
  }

  stats(): ArenaStats {
    return {
      reservedBytes: this.#buffer?.byteLength ?? 0,
      touchedBytes: this.#buffer === undefined ? 0 : this.#top,
      usedBytes: this.#used,
      heapAllocations: this.#heapAllocations,
    }
  }

  #take(size: number): Chunk | undefined {
    let chunk = this.#free.get(size)?.pop()
    if (chunk === undefined && this.#buffer && this.#top + size <= this.#buffer.byteLength) {
      chunk = { address: this.#top, size }
      this.#top += size
    }
    if (chunk !== undefined) this.#used += size
    return chunk
  }

  #recycle(chunk: Chunk): void {
    this.#used -= chunk.size
    const list = this.#free.get(chunk.size)
    if (list === undefined) this.#free.set(chunk.size, [chunk])
    else list.push(chunk)
  }
}

/** Wasm knows no blocks: beyond the end of one lies another. JavaScript's own copy then throws. */
function outside(from: Block, start: number, to: Block, at: number, length: number): boolean {
  return start + length > from.bytes.length || at + length > to.bytes.length
}

const NOTHING: MemoryOperations = { sum: () => 0, copySum: () => 0, copy() {} }

interface Engine {
  readonly buffer: ArrayBuffer
  readonly operations: MemoryOperations
}

/** `undefined` where the platform has no SIMD, allows no code generation (CSP) or has no memory to reserve. */
function instantiate(wasm: WebAssemblyApi, reserve: number): Engine | undefined {
  try {
    const bytes = Uint8Array.from(atob(SUM_SIMD_WASM), (byte) => byte.charCodeAt(0))
    const module = new wasm.Module(bytes)
    for (let size = reserve; size >= ARENA_MIN_BYTES; size /= 2) {
      const pages = Math.floor(size / PAGE_BYTES)
      const memory = reserveMemory(wasm, pages)
      if (memory === undefined) continue
      const { exports } = new wasm.Instance(module, { netkit: { memory } })
      return { buffer: memory.buffer, operations: exports }
    }
  } catch {
    // JavaScript sums as well.
  }
  return undefined
}

function reserveMemory(
  wasm: WebAssemblyApi,
  pages: number,
): { readonly buffer: ArrayBuffer } | undefined {
  try {
    return new wasm.Memory({ initial: pages, maximum: pages })
  } catch {
    return undefined
  }
}

let shared: Arena | undefined

/** The arena of this process, made when it is first needed. */
export function sharedArena(): Arena {
  return (shared ??= new Arena(ARENA_BYTES))
}
