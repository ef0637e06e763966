/** A Linux guest in v86: its frames by events, and a shell to ask it things. */

import type { FramePort } from '@netkit/frames'
import { V86 } from 'v86'

/** The part of v86's event bus that its declarations leave out. */
interface Emulator {
  bus: { send(event: string, data: Uint8Array): void }
  add_listener(event: string, run: (data: never) => void): void
  stop(): Promise<void>
}

/** A running guest. */
export interface Guest {
  /** Its network card: whole Ethernet frames, each an event. */
  readonly nic: FramePort
  /** Runs a script in the guest; resolves with what it wrote. */
  exec(script: string): Promise<string>
}

async function fetched(path: string): Promise<ArrayBuffer> {
  return (await fetch(path)).arrayBuffer()
}

/** Goes on from the snapshot of a booted Debian kernel. */
export async function startGuest(memoryMiB: number): Promise<Guest> {
  const [bios, vgaBios, snapshot] = await Promise.all(
    ['/bios.bin', '/vgabios.bin', '/snapshot.bin'].map(fetched),
  )
  const emulator = new V86({
    wasm_path: '/v86.wasm',
    memory_size: memoryMiB << 20,
    vga_memory_size: 1 << 20,
    bios: { buffer: bios },
    vga_bios: { buffer: vgaBios },
    initial_state: { buffer: snapshot },
    // No relay: frames pass by events.
    net_device: { type: 'virtio', relay_url: '' },
    virtio_console: true,
    autostart: true,
    disable_speaker: true,
    disable_keyboard: true,
    disable_mouse: true,
    acpi: false,
  } as unknown as ConstructorParameters<typeof V86>[0]) as unknown as Emulator
  await new Promise<void>((resolve) => {
    emulator.add_listener('emulator-started', () => resolve())
  })
  return { nic: nicOf(emulator), exec: shellOf(emulator) }
}

function nicOf(emulator: Emulator): FramePort {
  return {
    queued: 0,
    send: (frame) => emulator.bus.send('net0-receive', frame.slice()),
    onMessage(run) {
      // The emulator hands out a view of its own memory.
      emulator.add_listener('net0-send', (frame: Uint8Array) => run(frame.slice()))
    },
    onClose() {
      // The guest lives as long as the page.
    },
    close: () => void emulator.stop(),
  }
}

/** The guest's agent on its virtio console: a line "ID BASE64" runs a script, whose output ends with a line that names the ID. */
function shellOf(emulator: Emulator): Guest['exec'] {
  const decoder = new TextDecoder()
  let output = ''
  let lastId = 0
  const waiting: (() => void)[] = []
  emulator.add_listener('virtio-console0-output-bytes', (bytes: Uint8Array) => {
    output += decoder.decode(bytes, { stream: true })
    for (const wake of waiting.splice(0)) wake()
  })
  return async (script) => {
    const id = ++lastId
    const line = `${id} ${btoa(script)}\n`
    emulator.bus.send('virtio-console0-input-bytes', new TextEncoder().encode(line))
    for (;;) {
      const [all, text = ''] =
        new RegExp(`^([\\s\\S]*?)\\n--netkit-exit ${id} \\d+--\\n`).exec(output) ?? []
      if (all !== undefined) {
        output = output.slice(all.length)
        return text
      }
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
  }
}
