import { describe, expect, test } from 'vitest'
import { AgentPool } from './agent.ts'

const READY = '--netkit-ready 6.1.0 1.50--\n'

function pool(channels = 1): {
  pool: AgentPool
  sent: string[][]
  receive: ((chunk: string) => void)[]
} {
  const agents = new AgentPool()
  const sent: string[][] = []
  const receive = Array.from({ length: channels }, (_, i) => {
    sent.push([])
    return agents.addChannel((line) => sent[i]?.push(line))
  })
  return { pool: agents, sent, receive }
}

describe('AgentPool', () => {
  test('a command waits for the ready line, then carries its script, and comes back with output and status', async () => {
    const { pool: agents, sent, receive } = pool()
    const result = agents.exec('echo "hi"')
    expect(sent[0]).toEqual([])
    receive[0]?.(READY)
    expect(await agents.ready()).toEqual({ kernel: '6.1.0', uptimeSeconds: 1.5 })
    const [id, script] = sent[0]?.[0]?.trim().split(' ') ?? []
    expect(Buffer.from(script ?? '', 'base64').toString()).toBe('echo "hi"')
    receive[0]?.('hi\n')
    receive[0]?.(`\n--netkit-ex`)
    receive[0]?.(`it ${id} 3--\n`)
    expect(await result).toEqual({ code: 3, stdout: 'hi\n' })
  })

  test('two channels run two commands, the third waits', async () => {
    const { pool: agents, sent, receive } = pool(2)
    for (const chunk of receive) chunk(READY)
    const all = [agents.exec('a'), agents.exec('b'), agents.exec('c')]
    expect(sent.map((lines) => lines.length)).toEqual([1, 1])
    receive[1]?.('\n--netkit-exit 2 0--\n')
    expect(sent.map((lines) => lines.length)).toEqual([1, 2])
    receive[1]?.('\n--netkit-exit 3 0--\n')
    receive[0]?.('\n--netkit-exit 1 0--\n')
    expect((await Promise.all(all)).map((r) => r.code)).toEqual([0, 0, 0])
  })

  test('a trailer with another id is output', async () => {
    const { pool: agents, receive } = pool()
    receive[0]?.(READY)
    const result = agents.exec('cat log')
    receive[0]?.('x\n--netkit-exit 99 0--\ny')
    receive[0]?.('\n--netkit-exit 1 0--\n')
    expect((await result).stdout).toBe('x\n--netkit-exit 99 0--\ny')
  })

  test('a guest that says ready again was reset: the running command is lost, the queued one runs', async () => {
    const { pool: agents, sent, receive } = pool()
    receive[0]?.(READY)
    const lost = agents.exec('sleep 100')
    const queued = agents.exec('true')
    receive[0]?.(READY)
    await expect(lost).rejects.toMatchObject({ code: 'NETKIT_GUEST_GONE' })
    expect(sent[0]).toHaveLength(2)
    receive[0]?.('\n--netkit-exit 2 0--\n')
    expect((await queued).code).toBe(0)
  })

  test('a guest that is gone fails what runs, what waits and what comes', async () => {
    const { pool: agents, receive } = pool()
    receive[0]?.(READY)
    const running = agents.exec('a')
    const waiting = agents.exec('b')
    agents.close(new Error('QEMU ended'))
    await expect(running).rejects.toMatchObject({ code: 'NETKIT_GUEST_GONE' })
    await expect(waiting).rejects.toThrow('QEMU ended')
    await expect(agents.exec('c')).rejects.toThrow('QEMU ended')
  })
})
