import { describe, expect, test } from 'vitest'
import { containerPorts } from './container-ports.ts'
import { jsonOf, portRig, WEB } from './port-rig.test-support.ts'
import type { Inspected, Listed } from './port-rig.test-support.ts'

const create = (...list: { HostIp: string; HostPort: string }[]): string =>
  JSON.stringify({ Image: 'a', HostConfig: { PortBindings: { '80/tcp': list } } })

const raw = (ip: string, labels: string): string =>
  `{ "New": 1.10, "Labels" : {${labels}"a":"b"}, "HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"${ip}","HostPort":"","X":1}]}}}`

describe('an address of the host’s', () => {
  test('is bound on the host, is no address in the guest, and is what clients read', async () => {
    await using it = await portRig()
    const asked = { HostIp: '192.0.2.7', HostPort: '8080' }
    expect(await it.ask('POST /v1.51/containers/create?name=web', create(asked))).toMatch(/^201 /)
    expect(it.engine.containers.get('c0')?.bindings).toEqual({
      '80/tcp': [{ HostIp: '', HostPort: '8080' }],
    })
    expect(await it.ask('POST /containers/c0/start')).toBe('204 ')
    expect(it.publisher.asked).toEqual([{ protocol: 'tcp', port: 8080, ip: '192.0.2.7' }])
    const inspected = jsonOf(await it.ask('GET /containers/c0/json')) as Inspected
    expect(inspected.HostConfig.PortBindings).toEqual({ '80/tcp': [asked] })
    expect(inspected.NetworkSettings.Ports).toEqual({ '80/tcp': [asked] })
    expect(inspected.Config.Labels).toEqual({})
    const [listed] = jsonOf(await it.ask('GET /containers/json')) as Listed[]
    expect(listed).toMatchObject({ Labels: {}, Ports: [{ IP: '192.0.2.7', PublicPort: 8080 }] })
    // Another proxy, later, finds out from the engine.
    await it.ports.sync()
    expect(it.publisher.asked.length).toBe(1)
  })

  test('twice with one number is one binding in the guest, and both on the host', async () => {
    await using it = await portRig()
    const [one, two] = [
      { HostIp: '127.0.0.1', HostPort: '8080' },
      { HostIp: '192.0.2.7', HostPort: '8080' },
    ]
    await it.ask('POST /containers/create', create(one, two))
    expect(it.engine.containers.get('c0')?.bindings['80/tcp']).toEqual([
      { HostIp: '', HostPort: '8080' },
    ])
    const inspected = jsonOf(await it.ask('GET /containers/c0/json')) as Inspected
    expect(inspected.HostConfig.PortBindings).toEqual({ '80/tcp': [one, two] })
  })

  test.each(['', '0.0.0.0', '::', 'not-an-address'])('%j passes as it is', async (HostIp) => {
    await using it = await portRig()
    const body = create({ HostIp, HostPort: '8080' })
    await it.ask('POST /containers/create', body)
    expect(it.engine.calls).toEqual([`POST /containers/create${body}`])
  })

  test('keeps every other byte of the create, and other labels', async () => {
    await using it = await portRig()
    await it.ask('POST /containers/create', raw('127.0.0.1', ''))
    const label = String.raw`"netkit.host-ip":"{\"80/tcp\":[[\"127.0.0.1\",\"\"]]}",`
    expect(it.engine.calls).toEqual([`POST /containers/create${raw('', label)}`])
  })

  test('in a body that is read in two ways is refused', async () => {
    await using it = await portRig()
    const body = '{"HostConfig":{"PortBindings":{}},"hostconfig":{"PortBindings":{}}}'
    expect(await it.ask('POST /containers/create', body)).toMatch(/^400 .*more than once/)
    expect(it.engine.calls).toEqual([])
  })

  test('of an image that was committed means nothing here', () => {
    const inherited = {
      Config: { Labels: { 'netkit.host-ip': '{"80/tcp":[["192.0.2.7","9090"]]}' } },
      HostConfig: { PortBindings: WEB },
    }
    expect(containerPorts(inherited).fixed.map(({ hostIp }) => hostIp)).toEqual([''])
  })
})
