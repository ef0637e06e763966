/**
 * What every `FrameLink` does alike, over whatever medium. The subject is two joined links; what one end sends, the other end's
 * sink receives.
 */

import { blockOf, systemClock, type Block, type NetkitError } from '@netkit/core'
import { defineSuite, type ComplianceOptions, type ComplianceRunner } from '@netkit/core/compliance'
import type { FrameLink, FrameSink, LinkState } from '../frame-link.ts'

/** Two links, each the other's far end. */
export interface FrameLinkSubject {
  readonly a: FrameLink
  readonly b: FrameLink
}

class Recorder implements FrameSink {
  readonly frames: Uint8Array[] = []
  readonly states: LinkState[] = []
  cause: NetkitError | undefined
  batches = 0
  writables = 0
  keep: ((block: Block, offset: number, length: number) => void) | undefined

  frame(block: Block, offset: number, length: number): void {
    this.frames.push(block.bytes.slice(offset, offset + length))
    this.keep?.(block, offset, length)
  }

  batchEnd(): void {
    this.batches++
  }

  writable(): void {
    this.writables++
  }

  stateChanged(state: LinkState, cause: NetkitError | undefined): void {
    this.states.push(state)
    this.cause = cause
  }
}

/** A frame from and to a station, whose bytes tell which one it is. */
function frameOf(index: number, length: number): Uint8Array {
  const frame = new Uint8Array(length)
  for (let i = 0; i < length; i++) frame[i] = (index * 37 + i) & 0xff
  frame.set([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2].slice(0, length))
  return frame
}

function send(link: FrameLink, frame: Uint8Array): boolean {
  const room = link.begin(frame.length)
  if (room === undefined) return false
  room.block.bytes.set(frame, room.offset)
  link.commit(frame.length)
  return true
}

/** Sends one after the other, waiting for credit where there is none. */
async function sendAll(link: FrameLink, frames: readonly Uint8Array[]): Promise<void> {
  for (const frame of frames) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    await until(`credit for ${frame.length} bytes`, () => {
      const begun = send(link, frame)
      link.flush()
      return begun
    })
  }
}

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    systemClock.yield(resolve)
  })

/** Waits as many turns of the event loop as it takes, within some seconds. */
async function until(what: string, condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns === 500_000) throw new Error(`never came: ${what}`)
    // oxlint-disable-next-line no-await-in-loop -- polling
    await turn()
  }
}

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message)
}

function codeOf(run: () => void): string {
  try {
    run()
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'no error'
}

function assertFrames(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  assert(actual.length === expected.length, `${actual.length} frames instead of ${expected.length}`)
  for (const [i, frame] of expected.entries()) {
    const got = actual[i] ?? new Uint8Array()
    const same = got.length === frame.length && frame.every((byte, at) => byte === got[at])
    assert(same, `frame ${i} differs: ${got.length} bytes came, ${frame.length} were sent`)
  }
}

function join({ a, b }: FrameLinkSubject): { atA: Recorder; atB: Recorder } {
  const [atA, atB] = [new Recorder(), new Recorder()]
  a.attach(atA)
  b.attach(atB)
  return { atA, atB }
}

/**
 * The suite of the `FrameLink` contract.
 *
 * @param runner - `describe` and `test` of a test runner.
 */
export function frameLinkCompliance<Subject extends FrameLinkSubject>(
  runner: ComplianceRunner,
  options: ComplianceOptions<Subject>,
): void {
  defineSuite(runner, 'FrameLink', options, {
    async 'frames of every length arrive whole and in order, both ways'(subject) {
      const { atA, atB } = join(subject)
      const lengths = [14, 15, 60, 61, 342, 1000, subject.a.mtu + 13, subject.a.mtu + 14]
      const frames = lengths.map((length, i) => frameOf(i, length))
      await sendAll(subject.a, frames)
      await sendAll(subject.b, frames.toReversed())
      await until('all frames', () => atA.frames.length >= 8 && atB.frames.length >= 8)
      assertFrames(atB.frames, frames)
      assertFrames(atA.frames, frames.toReversed())
    },

    async 'batchEnd follows the frames'(subject) {
      const { atB } = join(subject)
      await sendAll(subject.a, [frameOf(0, 60)])
      await until('batchEnd', () => atB.batches > 0)
      assert(atB.frames.length === 1, 'batchEnd came before its frame')
    },

    async 'a thousand frames in one flush arrive in order'(subject) {
      const { atB } = join(subject)
      const frames = Array.from({ length: 1000 }, (_, i) => frameOf(i, 60))
      for (const frame of frames) assert(send(subject.a, frame), 'no credit for 60 kB')
      subject.a.flush()
      await until('all frames', () => atB.frames.length >= 1000)
      assertFrames(atB.frames, frames)
    },

    async 'nothing leaves before flush, and a frame that was not committed never does'(subject) {
      const { atB } = join(subject)
      subject.a.begin(100)
      assert(send(subject.a, frameOf(1, 60)), 'no credit')
      await turn()
      assert(atB.frames.length === 0, 'a frame arrived that was not flushed')
      subject.a.flush()
      await until('the frame', () => atB.frames.length > 0)
      await turn()
      assertFrames(atB.frames, [frameOf(1, 60)])
    },

    async 'commit may be shorter than begin'(subject) {
      const { atB } = join(subject)
      for (const length of [60, 80]) {
        const room = subject.a.begin(subject.a.mtu)
        room?.block.bytes.set(frameOf(0, length), room.offset)
        subject.a.commit(length)
      }
      subject.a.flush()
      await until('both', () => atB.frames.length === 2)
      assertFrames(atB.frames, [frameOf(0, 60), frameOf(0, 80)])
    },

    async 'commitWith sends head and block as one frame and gives its pin back'(subject) {
      const { atB } = join(subject)
      const frame = frameOf(3, 554)
      const payload = blockOf(frame.slice(54))
      for (let i = 0; i < 10; i++) {
        const room = subject.a.begin(54)
        assert(room !== undefined, 'no credit for 54 bytes')
        room?.block.bytes.set(frame.subarray(0, 54), room.offset)
        payload.pin()
        subject.a.commitWith(54, payload, 0, 500)
      }
      subject.a.flush()
      await until('all frames', () => atB.frames.length === 10)
      assertFrames(
        atB.frames,
        Array.from({ length: 10 }, () => frame),
      )
      await until('the pins', () => payload.pins === 1)
    },

    async 'bytes that the sink has pinned stay as they are'(subject) {
      const { atB } = join(subject)
      const kept: { block: Block; offset: number; length: number }[] = []
      atB.keep = (block, offset, length) => {
        if (kept.length === 20) return
        block.pin()
        kept.push({ block, offset, length })
      }
      const frames = Array.from({ length: 300 }, (_, i) => frameOf(i, 1000))
      for (let i = 0; i < frames.length; i += 20) {
        // oxlint-disable-next-line no-await-in-loop -- in order
        await sendAll(subject.a, frames.slice(i, i + 20))
        // oxlint-disable-next-line no-await-in-loop -- in order
        await until('the frames', () => atB.frames.length === i + 20)
      }
      assertFrames(
        kept.map(({ block, offset, length }) => block.bytes.slice(offset, offset + length)),
        frames.slice(0, kept.length),
      )
      for (const { block } of kept) block.unpin()
    },

    async 'begin succeeds within the credit; without credit writable follows'(subject) {
      const { atA, atB } = join(subject)
      subject.b.pause()
      let sent = 0
      for (; sent < 200_000; sent++) {
        const { credit } = subject.a
        const begun = send(subject.a, frameOf(sent, 1000))
        assert(begun || credit < 1000, `no room for 1000 bytes at a credit of ${credit}`)
        if (!begun) break
        subject.a.flush()
      }
      assert(sent < 200_000, 'the credit never ended, though nobody reads')
      assert(atA.writables === 0, 'writable was called before begin had no room')
      subject.b.resume()
      await until('writable', () => atA.writables > 0)
      assert(subject.a.credit >= 1000, 'writable came without credit')
      await until('all frames', () => atB.frames.length === sent)
    },

    'a frame that the link cannot carry is the caller’s error'(subject) {
      const { a } = subject
      assert(codeOf(() => a.begin(a.mtu + 19)) === 'NETKIT_FRAME_TOO_LONG', 'begin beyond the MTU')
      a.begin(60)
      assert(codeOf(() => a.commit(61)) === 'NETKIT_FRAME_TOO_LONG', 'commit beyond begin')
    },

    async 'stats count frames and bytes of both directions'(subject) {
      const { atB } = join(subject)
      await sendAll(subject.a, [frameOf(0, 60), frameOf(1, 100)])
      await until('both', () => atB.frames.length === 2)
      const [out, into] = [subject.a.stats(), subject.b.stats()]
      assert(out.framesOut === 2 && out.bytesOut === 160, 'framesOut or bytesOut')
      assert(into.framesIn === 2 && into.bytesIn === 160, 'framesIn or bytesIn')
    },

    async 'runts are counted and dropped'(subject) {
      const { atB } = join(subject)
      await sendAll(subject.a, [frameOf(0, 13), frameOf(1, 60)])
      await until('the frame', () => atB.frames.length > 0)
      assertFrames(atB.frames, [frameOf(1, 60)])
      assert(subject.b.stats().dropped['runt'] === 1, 'the runt was not counted')
    },

    async 'close is told once, is idempotent, and ends credit'(subject) {
      const { atA } = join(subject)
      assert(subject.a.state === 'up', `the state is ${subject.a.state}`)
      send(subject.a, frameOf(0, 60))
      await subject.a.close()
      await subject.a.close()
      await subject.a[Symbol.asyncDispose]()
      assert(subject.a.state === 'closed', `the state is ${subject.a.state}`)
      assert(atA.states.join() === 'closed', `states: ${atA.states.join()}`)
      assert(atA.cause === undefined, 'a close of our own has no cause')
      assert(subject.a.credit === 0 && subject.a.begin(60) === undefined, 'room after close')
      subject.a.flush()
    },

    async 'the peer’s close is told with a cause'(subject) {
      const { atB } = join(subject)
      await subject.a.close()
      await until('the state', () => atB.states.length > 0)
      assert(atB.states.at(-1) !== 'up', 'still up')
      assert(atB.cause?.code.startsWith('NETKIT_') === true, 'no cause with a code')
    },
  })
}
