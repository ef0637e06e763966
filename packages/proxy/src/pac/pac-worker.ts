/**
 * The thread in which PAC scripts run: QuickJS in Wasm, with nothing but JavaScript itself and the functions of PAC in it. A script
 * that never ends is ended with its thread.
 */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { QuickJS } from 'quickjs-wasi'
import type { JSValueHandle } from 'quickjs-wasi'
import { PAC_MEMORY_BYTES, PAC_STACK_BYTES } from '../limits.ts'
import { pacFunctions } from './pac-functions.ts'
import { LookupMemory } from './pac-messages.ts'
import type { PacQuestion, PacReply } from './pac-messages.ts'

const port = parentPort
if (port === null) throw new Error('This file is the worker of PAC scripts.')
const lookup = new LookupMemory(workerData as SharedArrayBuffer)
const say = (reply: PacReply): void => port.postMessage(reply)

let vm: QuickJS | undefined

port.on('message', (question: PacQuestion) => {
  void (question.kind === 'load' ? load(question) : find(question)).catch((error: unknown) => {
    // After a trap the machine's memory may be anything: the thread ends.
    if (error instanceof Error && error.name === 'RuntimeError') throw error
    say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) })
  })
})

async function load({ script, addresses }: PacQuestion & { kind: 'load' }): Promise<void> {
  const wasm = createRequire(import.meta.url).resolve('quickjs-wasi/quickjs.wasm')
  vm = await QuickJS.create({
    wasm: new Uint8Array(readFileSync(wasm)),
    memoryLimit: PAC_MEMORY_BYTES,
    maxStackSize: PAC_STACK_BYTES,
    timezoneOffset: 'host',
  })
  const functions = pacFunctions({
    addresses,
    now: () => new Date(),
    resolve: (name) => lookup.wait(() => say({ kind: 'resolve', name })),
  })
  const { global } = vm
  for (const [name, run] of Object.entries(functions)) {
    const machine = vm
    const handle = vm.newFunction(name, (...args: JSValueHandle[]) =>
      valueOf(machine, run(...args.map((arg) => machine.dump(arg)))),
    )
    global.setProp(name, handle)
    handle.dispose()
  }
  vm.evalCode(script, 'proxy.pac').dispose()
  const kind = vm.evalCode('typeof FindProxyForURL').consume((handle) => handle.toString())
  if (kind !== 'function') throw new Error('the script has no function FindProxyForURL')
  say({ kind: 'answer', value: '' })
}

async function find({ url, host }: PacQuestion & { kind: 'find' }): Promise<void> {
  if (vm === undefined) throw new Error('no script is loaded')
  const code = `String(FindProxyForURL(${JSON.stringify(url)}, ${JSON.stringify(host)}) ?? '')`
  say({ kind: 'answer', value: vm.evalCode(code).consume((handle) => handle.toString()) })
}

function valueOf(machine: QuickJS, value: string | number | boolean | null): JSValueHandle {
  if (typeof value === 'string') return machine.newString(value)
  if (typeof value === 'number') return machine.newNumber(value)
  if (value === null) return machine.null
  return value ? machine.true : machine.false
}
