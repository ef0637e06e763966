import type { HostProcess, StartProcess } from './host-process.ts'

/** A program of which the test plays the part. */
export interface FakeProcess {
  readonly command: string
  readonly args: readonly string[]
  /** What was written to its input. */
  input: string
  killed: boolean
  print(text: string): void
  exit(): void
}

/** Starts programs that do what `play` does; all that were started are in `started`. */
export function fakeProcesses(play: (process: FakeProcess) => void): {
  start: StartProcess
  started: FakeProcess[]
} {
  const started: FakeProcess[] = []
  const start: StartProcess = (command, args): HostProcess => {
    const outputs: ((text: string) => void)[] = []
    const exits: (() => void)[] = []
    const process: FakeProcess = {
      command,
      args,
      input: '',
      killed: false,
      print: (text) => outputs.forEach((run) => run(text)),
      exit: () => exits.forEach((run) => run()),
    }
    started.push(process)
    void Promise.resolve().then(() => play(process))
    return {
      write: (text) => {
        process.input += text
      },
      onOutput: (run) => void outputs.push(run),
      onExit: (run) => void exits.push(run),
      kill: () => {
        process.killed = true
      },
    }
  }
  return { start, started }
}
