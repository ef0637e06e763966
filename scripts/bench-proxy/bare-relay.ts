/** What a proxy of Node's own parts costs at least: `node:http` in front, undici behind, sockets piped for CONNECT. No checks of any kind. */

import { createServer } from 'node:http'
import { connect } from 'node:net'
import { Agent } from 'undici'

const agent = new Agent({ connections: 128 })
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '')
  agent.dispatch(
    {
      origin: url.origin,
      path: url.pathname + url.search,
      method: request.method as 'GET',
      headers: { host: url.host },
      body: null,
    },
    {
      onRequestStart: () => {},
      onResponseStart: (_controller, status, headers) => {
        response.writeHead(status, headers as Record<string, string>)
      },
      onResponseData: (controller, chunk) => {
        if (response.write(chunk)) return
        controller.pause()
        response.once('drain', () => controller.resume())
      },
      onResponseEnd: () => response.end(),
      onResponseError: () => response.destroy(),
    },
  )
})
server.on('connect', (request, client, head) => {
  const [host = '', port = ''] = (request.url ?? '').split(':')
  const way = connect({ host, port: Number(port), allowHalfOpen: true }, () => {
    client.write('HTTP/1.1 200 OK\r\n\r\n')
    way.write(head)
    way.pipe(client)
    client.pipe(way)
  })
  way.on('error', () => client.destroy())
  client.on('error', () => way.destroy())
})
server.listen(Number(process.argv[2]), '127.0.0.1', 4096, () => process.stdout.write('ready\n'))
