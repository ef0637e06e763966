// Takes what it needs out of the modules at once, as much of npm does; run with `--import @netkit/testnet/register`.
const { connect } = require('node:tls')
const { setTimeout: wait } = require('node:timers/promises')
// oxlint-disable-next-line typescript/unbound-method -- static, and taking it out is what is tested
const { once } = require('node:events')

async function main() {
  const { createTestnet } = await import('@netkit/testnet/node')
  const { certificate } = await import('./certificate.ts')
  const { createServer } = await import('node:tls')
  const net = createTestnet()
  const [app, api] = [net.host('app'), net.host('server.test')]
  await api.listen(
    createServer(certificate, (socket) => socket.end('safe')),
    443,
  )
  const text = await app.run(async () => {
    await wait(Number(process.argv[2]))
    const socket = connect({ host: 'server.test', port: 443, ca: certificate.cert })
    const [bytes] = await once(socket, 'data')
    return bytes.toString()
  })
  await net.close()
  process.stdout.write(`${text} ${net.clock.now()}\n`)
}

void main()
