import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { readByOnread } from './onread-socket.ts'
import { openConnection, readToEnd, writeAll } from './sockets.testkit.ts'

/** 50 MB in pieces of lengths that do not fit the read buffer. */
function* manyPieces(seed: number): Generator<Buffer> {
  for (let left = 50_000_000, index = 0; left > 0; index++) {
    const piece = Buffer.alloc(Math.min(left, 70_001), (seed + index * 31) & 0xff)
    piece.writeUInt32BE(index, 0)
    left -= piece.length
    yield piece
  }
}

function digest(pieces: Iterable<Uint8Array>): string {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

async function hashToEnd(socket: Socket): Promise<string> {
  const hash = createHash('sha256')
  socket.on('data', (bytes: Buffer) => hash.update(bytes))
  await once(socket, 'end')
  return hash.digest('hex')
}

describe('readByOnread', () => {
  it.each(['accepted', 'dialled'] as const)('50 MB both ways through the %s side are whole', async (side) => {
    await using connection = await openConnection()
    const far = side === 'accepted' ? connection.dialled : connection.accepted
    const hash = createHash('sha256')
    let reads = 0
    const { socket, isReused } = readByOnread(connection[side], 16_384, (bytes) => {
      hash.update(bytes)
      // Reading stops and goes on within the flow, as it does under backpressure.
      if (++reads % 100 !== 0) return
      socket.pause()
      setImmediate(() => socket.resume())
    })
    expect(isReused).toBe(true)
    const farHash = hashToEnd(far)
    const ended = once(socket, 'end')
    socket.resume()
    await Promise.all([writeAll(far, manyPieces(1)), writeAll(socket, manyPieces(2)), ended])
    expect(hash.digest('hex')).toBe(digest(manyPieces(1)))
    expect(await farHash).toBe(digest(manyPieces(2)))
  })

  it('gives what had been read before as leftover, once', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    dialled.write('dialogue')
    await once(accepted, 'readable')
    const seen: string[] = []
    const { socket, leftover } = readByOnread(accepted, 1024, (bytes) =>
      seen.push(Buffer.from(bytes).toString()),
    )
    expect(Buffer.from(leftover).toString()).toBe('dialogue')
    socket.resume()
    const ended = once(socket, 'end')
    dialled.end('media')
    await ended
    expect(seen.join('')).toBe('media')
  })

  it('nothing is read before it is resumed, nor while it is paused', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    let seen = 0
    const { socket } = readByOnread(accepted, 1024, (bytes) => {
      seen += bytes.length
      socket.pause()
    })
    await new Promise((resolve) => dialled.write(Buffer.alloc(4096), resolve))
    // The bytes have left the sender; several turns of the event loop find nobody reading.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(seen).toBe(0)
    socket.resume()
    await expect.poll(() => seen).toBe(1024)
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(seen).toBe(1024)
  })

  it('each side can end its own direction and go on in the other', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    const { socket } = readByOnread(accepted, 1024, () => undefined)
    socket.resume()
    const ended = once(socket, 'end')
    dialled.end('bye')
    await ended
    const received = readToEnd(dialled)
    socket.end('still here')
    expect((await received).toString()).toBe('still here')
  })

  it('server.close() calls back once it is closed', async () => {
    await using connection = await openConnection()
    const { accepted, dialled, server } = connection
    const { socket } = readByOnread(accepted, 1024, () => undefined)
    socket.resume()
    const closed = Promise.all([once(server, 'close'), once(socket, 'close')])
    server.close()
    dialled.destroy()
    await once(socket, 'end')
    socket.end()
    await closed
  })

  it('goes on writing what waits to be written', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    let written = 0
    for (let free = true; free; written += 1_000_000) {
      free = accepted.write(Buffer.alloc(1_000_000))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { socket, isReused } = readByOnread(accepted, 1024, () => undefined)
    expect(isReused).toBe(true)
    socket.end()
    expect((await readToEnd(dialled)).length).toBe(written)
  })

  it('a socket of a Node with another inside is read the same way', async () => {
    await using connection = await openConnection()
    const { accepted, dialled } = connection
    Object.assign(Reflect.get(accepted, '_handle') as object, { useUserBuffer: undefined })
    const seen: Buffer[] = []
    const { socket, isReused } = readByOnread(accepted, 1024, (bytes) => seen.push(Buffer.from(bytes)))
    expect(isReused).toBe(false)
    socket.resume()
    const ended = once(socket, 'end')
    dialled.end(Buffer.alloc(100_000, 7))
    await ended
    expect(Buffer.concat(seen)).toEqual(Buffer.alloc(100_000, 7))
    expect(socket.writable).toBe(true)
  })
})
