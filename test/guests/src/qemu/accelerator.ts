/**
 * Whether KVM really runs code. A /dev/kvm that can be opened says little: in nested and emulated machines it may hang at the
 * first instruction. So a BIOS is started on it and must say its name within three seconds.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { KVM_PROBE_TIMEOUT_MS } from '../limits.ts'
import type { QemuAccelerator } from './qemu-command.ts'

/** SeaBIOS writes its log to this port, character by character. */
const BIOS_LOG_PORT = '0x402'

function biosSpeaks(qemu: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(
      qemu,
      ['-machine', 'q35', '-accel', 'kvm', '-cpu', 'host', '-nodefaults', '-no-user-config']
        .concat([
          '-display',
          'none',
          '-monitor',
          'none',
          '-m',
          '32',
          '-chardev',
          'stdio,id=log,signal=off',
        ])
        .concat(['-device', `isa-debugcon,iobase=${BIOS_LOG_PORT},chardev=log`]),
      { stdio: ['pipe', 'pipe', 'ignore'] },
    )
    let log = ''
    const done = (answer: boolean): void => {
      clearTimeout(timer)
      child.kill('SIGKILL')
      resolve(answer)
    }
    const timer = setTimeout(() => done(false), KVM_PROBE_TIMEOUT_MS)
    child.on('error', () => done(false))
    child.on('exit', () => done(false))
    child.stdin.on('error', () => {})
    child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      log += chunk
      // The last line of the BIOS's start: it has run all of its own code by then.
      if (/Booting from|No bootable device/.test(log)) done(true)
    })
  })
}

let probed: Promise<QemuAccelerator> | undefined

/** KVM when it works, else TCG. Asked once per process. */
export function bestAccelerator(qemu: string): Promise<QemuAccelerator> {
  return (probed ??= access('/dev/kvm', constants.R_OK | constants.W_OK)
    .then(() => biosSpeaks(qemu))
    .catch(() => false)
    .then((works) => (works ? 'kvm' : 'tcg')))
}
