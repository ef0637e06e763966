import { describe, expect, test } from 'vitest'
import { containerPorts } from './container-ports.ts'
import { WEB } from './port-rig.test-support.ts'

const bindings = (HostIp: string, HostPort: string): unknown => ({
  Id: 'a',
  Name: '/a',
  HostConfig: { NetworkMode: 'bridge', PortBindings: { '80/tcp': [{ HostIp, HostPort }] } },
})

describe('bindings', () => {
  test.each([
    ['8080', 8080],
    ['65535', 65_535],
  ])('%s is known before the start', (port, number) => {
    const { fixed, hasDynamic } = containerPorts(bindings('', port))
    expect({ fixed, hasDynamic }).toEqual({
      fixed: [{ protocol: 'tcp', containerPort: 80, hostIp: '', hostPort: number }],
      hasDynamic: false,
    })
  })

  test.each(['', '0', '7000-7010', '7010-7000', '70000', 'http'])(
    '%j is the engine’s to choose or to refuse',
    (port) => {
      expect(containerPorts(bindings('', port))).toMatchObject({ fixed: [], hasDynamic: true })
    },
  )

  test('a host, none or shared network publishes nothing', () => {
    for (const NetworkMode of ['host', 'none', 'container:b'])
      expect(
        containerPorts({ HostConfig: { NetworkMode, PortBindings: WEB, PublishAllPorts: true } }),
      ).toMatchObject({ fixed: [], hasDynamic: false })
  })

  test('the wildcards that the engine reports are the address that was asked for', () => {
    const wildcards = [
      { HostIp: '0.0.0.0', HostPort: '8080' },
      { HostIp: '::', HostPort: '8080' },
    ]
    const inspected = (HostIp: string): unknown => ({
      State: { Running: true },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp, HostPort: '8080' }] } },
      NetworkSettings: { Ports: { '80/tcp': HostIp === '' ? wildcards : wildcards.slice(0, 1) } },
    })
    expect(containerPorts(inspected('')).bound.map(({ hostIp }) => hostIp)).toEqual([''])
    expect(containerPorts(inspected('0.0.0.0')).bound.map(({ hostIp }) => hostIp)).toEqual([
      '0.0.0.0',
    ])
  })
})
