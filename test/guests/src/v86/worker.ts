/**
 * The thread a v86 guest runs in. The emulator takes the whole thread it runs on; in the stack's thread, the network's latency
 * would be the emulator's.
 *
 * ```
 *   parentPort  ── { agent: text } · { save: true } ──▶   ◀── { agent: text } · { state } · { console: text } ──
 *   framePort   ── Uint8Array, one frame ──▶              ◀── Uint8Array, one frame ──
 * ```
 */

import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import { V86 } from 'v86'

/** What the thread is started with. */
export interface V86WorkerData {
  readonly framePort: MessagePort
  readonly wasmPath: string
  readonly memoryMiB: number
  readonly bios: ArrayBuffer
  readonly vgaBios: ArrayBuffer
  /** A kernel to boot, or a snapshot to go on from. */
  readonly start:
    | { readonly kernel: ArrayBuffer; readonly initramfs: ArrayBuffer; readonly options: string }
    | { readonly state: ArrayBuffer }
}

/** From the thread. */
export type FromV86Worker =
  | { readonly agent: string }
  | { readonly console: string }
  | { readonly state: ArrayBuffer }
  | { readonly started: true }

/** To the thread. */
export type ToV86Worker = { readonly agent: string } | { readonly save: true }

/** The part of v86's event bus that its declarations leave out. */
interface Emulator {
  bus: { send(event: string, data: Uint8Array): void }
  add_listener(event: string, run: (data: never) => void): void
  save_state(): Promise<ArrayBuffer>
}

if (parentPort !== null) run(parentPort, workerData as V86WorkerData)

function run(port: MessagePort, data: V86WorkerData): void {
  const post = (message: FromV86Worker, transfer: ArrayBuffer[] = []): void =>
    port.postMessage(message, transfer)
  const { start } = data
  const emulator = new V86({
    wasm_path: data.wasmPath,
    memory_size: data.memoryMiB << 20,
    vga_memory_size: 1 << 20,
    bios: { buffer: data.bios },
    vga_bios: { buffer: data.vgaBios },
    ...('state' in start
      ? { initial_state: { buffer: start.state } }
      : {
          bzimage: { buffer: start.kernel },
          initrd: { buffer: start.initramfs },
          cmdline: start.options,
        }),
    // No relay: frames pass by events, and nothing else of v86's own networking is used.
    net_device: { type: 'virtio', relay_url: '' },
    // `true` is a console without a screen, whatever the declarations say.
    virtio_console: true,
    autostart: true,
    disable_speaker: true,
    disable_keyboard: true,
    disable_mouse: true,
    acpi: false,
  } as unknown as ConstructorParameters<typeof V86>[0]) as unknown as Emulator

  const text = new TextDecoder('utf-8')
  const encoder = new TextEncoder()
  emulator.add_listener('virtio-console0-output-bytes', (bytes: Uint8Array) =>
    post({ agent: text.decode(bytes, { stream: true }) }),
  )
  let line = ''
  emulator.add_listener('serial0-output-byte', (byte: number) => {
    line += String.fromCharCode(byte)
    if (byte !== 10) return
    post({ console: line })
    line = ''
  })
  emulator.add_listener('net0-send', (frame: Uint8Array) => {
    // The emulator hands out a view of its own memory: the frame is copied once, and the copy moves to the other thread.
    const copy = frame.slice()
    data.framePort.postMessage(copy, [copy.buffer])
  })
  data.framePort.on('message', (frame: Uint8Array) => emulator.bus.send('net0-receive', frame))
  emulator.add_listener('emulator-started', () => post({ started: true }))
  port.on('message', (message: ToV86Worker) => {
    if ('agent' in message)
      emulator.bus.send('virtio-console0-input-bytes', encoder.encode(message.agent))
    else void emulator.save_state().then((state) => post({ state }, [state]))
  })
}
