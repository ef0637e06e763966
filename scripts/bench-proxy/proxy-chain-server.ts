/** proxy-chain as its README starts it. */

import { Server } from 'proxy-chain'

const server = new Server({ port: Number(process.argv[2]), host: '127.0.0.1', verbose: false })
await server.listen()
process.stdout.write('ready\n')
