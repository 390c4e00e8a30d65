import { readdirSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requireAddon } from '../datapath/engine-native/addon.testkit.ts'
import { openConnection } from '../net/sockets.testkit.ts'
import { pieces, Reader } from './conformance.testkit.ts'
import { joinConformance } from './join-conformance.testkit.ts'
import { type JoinOptions, joinStreams } from './join.ts'
import { NativeJoiner } from './native-joiner.ts'
import { socketStream } from './socket-stream.ts'
import type { TcpJoiner } from './tcp-joiner.ts'

const addon = requireAddon()
let engine = new NativeJoiner(addon)
beforeEach(() => {
  engine = new NativeJoiner(addon)
})
afterEach(() => engine.close())

describe('sockets joined by the engine', () => {
  joinConformance(
    () => ({ engine, engineAfterBytes: 1 }),
    async ({ user, service }) => {
      const before = engine.joinsTaken
      user.write('x')
      await new Promise<void>((resolve) => service.once('data', () => resolve()))
      service.pause()
      expect(engine.joinsTaken).toBeGreaterThan(before)
    },
  )
})

describe('sockets that the engine takes over on the way', () => {
  joinConformance(() => ({ engine, engineAfterBytes: 50_000 }))

  it('it is asked again when it has refused, and begins with what a side had not taken by then', async () => {
    let isRefusing = true
    const picky: TcpJoiner = {
      join: (...sides) => (isRefusing ? undefined : engine.join(...sides)),
    }
    await using pair = await openJoined({ engine: picky, engineAfterBytes: 1 })
    const [user, service] = [new Reader(socketStream(pair.user)), new Reader(socketStream(pair.service))]
    const sent = await user.fill(400_000_000)
    isRefusing = false
    service.resume()
    await expect.poll(() => engine.joinsTaken).toBe(1)
    user.send(pieces(9, 10_000_000), false)
    await service.has(sent + 10_000_000)
    expect(service.bytes.subarray(sent).equals(Buffer.concat(pieces(9, 10_000_000)))).toBe(true)
    await expect.poll(() => pair.join.bytesFromFirst).toBe(sent + 10_000_000)
  })

  it('it takes a direction whose opposite is over', async () => {
    await using pair = await openJoined()
    const [user, service] = [new Reader(socketStream(pair.user)), new Reader(socketStream(pair.service))]
    user.resume()
    service.resume()
    user.send([Buffer.from('question')])
    await service.ended
    service.send(pieces(4, 3_000_000))
    await user.closed
    expect(engine.joinsTaken).toBe(1)
    expect(user.bytes.equals(Buffer.concat(pieces(4, 3_000_000)))).toBe(true)
    expect(await pair.join.done).toEqual({ reason: 'ended' })
    expect([pair.join.bytesFromFirst, pair.join.bytesFromSecond]).toEqual([8, 3_000_000])
  })
})

describe('NativeJoiner', () => {
  it('leaves to JavaScript what is too much for it', async () => {
    engine.close()
    engine = new NativeJoiner(addon, { mostJoins: 1 })
    await using first = await openJoined()
    await using second = await openJoined()
    await passMuch(first)
    await passMuch(second)
    expect([engine.joinsTaken, engine.joinCount]).toEqual([1, 1])
  })

  it('keeps no descriptor of a join that is over', async () => {
    await using before = await openJoined()
    await passMuch(before)
    const count = readdirSync('/proc/self/fd').length
    for (const error of [undefined, new Error('enough')]) {
      await using pair = await openJoined()
      await passMuch(pair)
      pair.join.destroy(error)
      await pair.join.done
      expect(engine.joinCount).toBe(1)
    }
    // It closes its own in its own thread.
    await expect.poll(() => readdirSync('/proc/self/fd').length).toBe(count)
  })

  it.each([
    ['is closed', () => engine.close()],
    ['dies', () => engine.crash()],
  ])('an engine that %s breaks its joins, and takes none any more', async (_, end) => {
    await using pair = await openJoined()
    await passMuch(pair)
    end()
    expect((await pair.join.done).reason).toBe('first-broken')
    expect(engine.joinCount).toBe(0)
    await using after = await openJoined()
    await passMuch(after)
    expect(engine.joinsTaken).toBe(1)
  })
})

/** A user and a service with a join between them that the engine is to have after 50,000 bytes. */
async function openJoined(options: JoinOptions = {}): Promise<
  AsyncDisposable & {
    readonly user: Awaited<ReturnType<typeof openConnection>>['dialled']
    readonly service: Awaited<ReturnType<typeof openConnection>>['accepted']
    readonly join: ReturnType<typeof joinStreams>
  }
> {
  const [near, far] = [await openConnection(), await openConnection()]
  const join = joinStreams(socketStream(near.accepted), socketStream(far.dialled), {
    engine,
    engineAfterBytes: 50_000,
    ...options,
  })
  return {
    user: near.dialled,
    service: far.accepted,
    join,
    async [Symbol.asyncDispose]() {
      join.destroy()
      await near[Symbol.asyncDispose]()
      await far[Symbol.asyncDispose]()
    },
  }
}

async function passMuch({ user, service }: Awaited<ReturnType<typeof openJoined>>): Promise<void> {
  const bytes = 200_000
  let got = 0
  const passed = new Promise<void>((resolve) => {
    service.on('data', (piece: Buffer) => {
      got += piece.length
      if (got === bytes) resolve()
    })
  })
  user.write(Buffer.alloc(bytes, 1))
  await passed
}
