/** The origin of the proxy benchmark: raw sockets, so that it costs little beside what is measured. `/bulk` is 256 MB, all else 1 KiB. */

import { createServer } from 'node:net'

const BULK_BYTES = 256_000_000
const small = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n${'x'.repeat(1024)}`,
)
const bulkHead = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${BULK_BYTES}\r\n\r\n`)
const piece = Buffer.alloc(256_000, 'x')

const server = createServer({ noDelay: true }, (socket) => {
  let seen = ''
  socket.on('error', () => {})
  socket.on('data', (bytes) => {
    seen += bytes.toString('latin1')
    for (let end = seen.indexOf('\r\n\r\n'); end >= 0; end = seen.indexOf('\r\n\r\n')) {
      const isBulk = seen.startsWith('GET /bulk ')
      seen = seen.slice(end + 4)
      if (!isBulk) {
        socket.write(small)
        continue
      }
      socket.write(bulkHead)
      let left = BULK_BYTES / piece.length
      const more = (): void => {
        while (left > 0) {
          left--
          if (!socket.write(piece)) return
        }
        socket.off('drain', more)
      }
      socket.on('drain', more)
      more()
    }
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1', 4096, () => process.stdout.write('ready\n'))
