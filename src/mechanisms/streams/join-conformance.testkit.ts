import { once } from 'node:events'
import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { openConnection } from '../net/sockets.testkit.ts'
import { pieces, Reader, turns } from './conformance.testkit.ts'
import { type JoinOptions, joinStreams, type StreamJoin } from './join.ts'
import { socketStream } from './socket-stream.ts'

/** A user and a service with a join between them: user ⇄ join ⇄ service. */
interface Joined extends AsyncDisposable {
  readonly user: Socket
  readonly service: Socket
  readonly join: StreamJoin
}

/**
 * What a join of two sockets does, whoever moves the bytes.
 *
 * @param warmUp moves bytes through a new join until whoever is tested has it
 */
export function joinConformance(
  options: () => JoinOptions,
  warmUp: (joined: Joined) => Promise<void> = async () => Promise.resolve(),
): void {
  async function open(more: JoinOptions = {}): Promise<Joined> {
    const [near, far] = [await openConnection(), await openConnection()]
    const join = joinStreams(socketStream(near.accepted), socketStream(far.dialled), {
      ...options(),
      ...more,
    })
    const joined: Joined = {
      user: near.dialled,
      service: far.accepted,
      join,
      async [Symbol.asyncDispose]() {
        join.destroy()
        await near[Symbol.asyncDispose]()
        await far[Symbol.asyncDispose]()
      },
    }
    await warmUp(joined)
    return joined
  }

  function readers({ user, service }: Joined): [Reader, Reader] {
    const [first, second] = [new Reader(socketStream(user)), new Reader(socketStream(service))]
    first.resume()
    second.resume()
    return [first, second]
  }

  it('bytes of all sizes arrive whole, both ways at once, and so do both ends', async () => {
    await using joined = await open()
    const [user, service] = readers(joined)
    const { bytesFromFirst, bytesFromSecond } = joined.join
    const [up, down] = [pieces(1, 5_000_000), pieces(2, 7_000_000)]
    user.send(up)
    service.send(down)
    await Promise.all([user.closed, service.closed])
    expect(service.bytes.equals(Buffer.concat(up))).toBe(true)
    expect(user.bytes.equals(Buffer.concat(down))).toBe(true)
    expect(await joined.join.done).toEqual({ reason: 'ended' })
    expect(joined.join.bytesFromFirst - bytesFromFirst).toBe(5_000_000)
    expect(joined.join.bytesFromSecond - bytesFromSecond).toBe(7_000_000)
  })

  it.each(['user', 'service'] as const)('the %s may end first, and is answered', async (side) => {
    await using joined = await open()
    const [user, service] = readers(joined)
    const [asks, answers] = side === 'user' ? [user, service] : [service, user]
    asks.send([Buffer.from('question')])
    await answers.ended
    expect(answers.bytes.toString()).toBe('question')
    await turns(8)
    expect(asks.hasEnded).toBe(false)
    answers.send(pieces(3, 3_000_000))
    await asks.closed
    expect(asks.bytes.equals(Buffer.concat(pieces(3, 3_000_000)))).toBe(true)
    expect(await joined.join.done).toEqual({ reason: 'ended' })
  })

  it.each(['user', 'service'] as const)('a reset by the %s resets the other', async (side) => {
    await using joined = await open()
    const [user, service] = readers(joined)
    const other = side === 'user' ? service : user
    joined[side].write('x')
    await other.has(1)
    joined[side].resetAndDestroy()
    await other.closed
    expect(other.error).toBeInstanceOf(Error)
    const { reason, error } = await joined.join.done
    expect(reason).toBe(side === 'user' ? 'first-broken' : 'second-broken')
    expect(error).toBeInstanceOf(Error)
  })

  it('a reset passes through while much is on its way', async () => {
    await using joined = await open()
    const user = new Reader(socketStream(joined.user))
    const service = new Reader(socketStream(joined.service))
    await user.fill(400_000_000)
    joined.service.resetAndDestroy()
    user.resume()
    await Promise.all([user.closed, service.closed])
    expect(user.error).toBeInstanceOf(Error)
    await joined.join.done
  })

  it('a side that does not read stops who sends, not the other direction', async () => {
    await using joined = await open()
    const user = new Reader(socketStream(joined.user))
    const service = new Reader(socketStream(joined.service))
    const sent = await user.fill(400_000_000)
    expect(sent).toBeLessThan(400_000_000)
    user.resume()
    service.send([Buffer.alloc(1_000_000, 3)], false)
    await user.has(1_000_000)
    service.resume()
    await service.has(sent)
    expect(service.length).toBe(sent)
  })

  it('the count of bytes is there while they pass', async () => {
    await using joined = await open()
    const [user, service] = readers(joined)
    const { bytesFromFirst, bytesFromSecond } = joined.join
    user.send([Buffer.alloc(300_000, 1)], false)
    service.send([Buffer.alloc(1000, 2)], false)
    await Promise.all([user.has(1000), service.has(300_000)])
    await expect.poll(() => joined.join.bytesFromFirst - bytesFromFirst).toBe(300_000)
    await expect.poll(() => joined.join.bytesFromSecond - bytesFromSecond).toBe(1000)
  })

  it('`destroy` closes both; with an error it resets both', async () => {
    for (const error of [undefined, new Error('enough')]) {
      await using joined = await open()
      const [user, service] = readers(joined)
      joined.join.destroy(error)
      expect(await joined.join.done).toEqual(
        error === undefined ? { reason: 'destroyed' } : { reason: 'destroyed', error },
      )
      if (error === undefined) {
        await Promise.all([user.ended, service.ended])
      } else {
        await Promise.all([user.closed, service.closed])
        expect([user.error, service.error]).toEqual([expect.any(Error), expect.any(Error)])
      }
    }
  })

  it('what one side says after the end of the other has a limit, where that is wanted', async () => {
    const clock = new ManualClock()
    await using joined = await open({ halfClose: false, lingerMs: 5000, clock })
    const [user, service] = readers(joined)
    user.send([Buffer.from('bye')])
    await service.ended
    // Told to the join by then, or soon.
    await expect.poll(() => clock.pending).toBe(1)
    service.send([Buffer.from('more')], false)
    await user.has(4)
    clock.advance(4999)
    await turns()
    expect(user.hasEnded).toBe(false)
    clock.advance(1)
    expect(await joined.join.done).toEqual({ reason: 'lingered' })
    expect(clock.pending).toBe(0)
  })

  it('nothing for too long ends the join, where that is wanted', async () => {
    const clock = new ManualClock()
    await using joined = await open({ idleMs: 4000, clock })
    const [user, service] = readers(joined)
    for (let bytes = 1; bytes <= 8; bytes++) {
      user.send([Buffer.from('x')], false)
      await service.has(bytes)
      await expect.poll(() => joined.join.bytesFromFirst).toBeGreaterThanOrEqual(bytes)
      clock.advance(3000)
    }
    clock.advance(5000)
    expect(await joined.join.done).toEqual({ reason: 'idle' })
    expect(clock.pending).toBe(0)
  })

  it('200 at once do not mix', async () => {
    const joins = await Promise.all(Array.from({ length: 200 }, async () => open()))
    try {
      await Promise.all(
        joins.map(async (joined, index) => {
          const [user, service] = readers(joined)
          user.send(pieces(index, 200_000))
          service.send(pieces(index + 1000, 100_000))
          await Promise.all([user.closed, service.closed])
          expect(service.bytes.equals(Buffer.concat(pieces(index, 200_000)))).toBe(true)
          expect(user.bytes.equals(Buffer.concat(pieces(index + 1000, 100_000)))).toBe(true)
          expect(await joined.join.done).toEqual({ reason: 'ended' })
        }),
      )
    } finally {
      await Promise.all(joins.map(async (joined) => joined[Symbol.asyncDispose]()))
    }
  })

  it('closing the socket of a side elsewhere ends the join', async () => {
    const [near, far] = [await openConnection(), await openConnection()]
    await using _near = near
    await using _far = far
    const join = joinStreams(socketStream(near.accepted), socketStream(far.dialled), options())
    await warmUp({ ...near, user: near.dialled, service: far.accepted, join })
    far.accepted.resume()
    const ended = once(far.accepted, 'end')
    near.accepted.destroy()
    expect(await join.done).toEqual({ reason: 'first-broken' })
    await ended
  })
}
