import { describe, expect, test } from 'vitest'
import { FlvTagType } from '../../../protocols/flv/index.ts'
import type { FlvTag } from '../../../protocols/flv/index.ts'
import { LiveStream } from './live-stream.ts'
import type { Player } from './live-stream.ts'

const limits = { maxBytes: 100, maxTags: 5, maxQueuedBytes: 1_000 }

class FakePlayer implements Player {
  readonly sent: FlvTag[] = []
  queuedBytes = 0
  ended: string | undefined

  send(tag: FlvTag): void {
    this.sent.push(tag)
  }

  end(reason: string): void {
    this.ended = reason
  }
}

function video(first: number, timestamp: number, length = 10): FlvTag {
  const payload = Buffer.alloc(length)
  payload[0] = first
  payload[1] = 1
  return { type: FlvTagType.video, timestamp, payload }
}
const key = (timestamp: number, length?: number): FlvTag => video(0x17, timestamp, length)
const inter = (timestamp: number, length?: number): FlvTag => video(0x27, timestamp, length)
const audio = (timestamp: number): FlvTag => ({
  type: FlvTagType.audio,
  timestamp,
  payload: Buffer.of(0xaf, 1, 7),
})
const config: FlvTag = { type: FlvTagType.video, timestamp: 0, payload: Buffer.of(0x17, 0, 0, 0, 0) }

function joined(stream: LiveStream): FakePlayer {
  const player = new FakePlayer()
  stream.join(player)
  return player
}

describe('a late player', () => {
  test('starts with decoder set-up and the last group of pictures', () => {
    const stream = new LiveStream(limits)
    for (const tag of [config, audio(1), key(10), inter(20), key(30), audio(31), inter(40)])
      stream.publish(tag)
    expect(joined(stream).sent).toEqual([{ ...config, timestamp: 30 }, key(30), audio(31), inter(40)])
  })

  test.each([
    ['bytes', [key(10, 60), inter(20, 60), inter(30)]],
    ['tags', [key(10), inter(20), inter(30), inter(40), inter(50), inter(60), inter(70)]],
  ])('gets no group that is above the limit of %s', (_, tags) => {
    const stream = new LiveStream(limits)
    for (const tag of [config, ...tags]) stream.publish(tag)
    expect(joined(stream).sent).toEqual([config])
  })

  test('of a stream that ended is told', () => {
    const stream = new LiveStream(limits)
    stream.end()
    expect(joined(stream).ended).toBe('unpublished')
  })
})

describe('a slow player', () => {
  test('gets decoder set-up only, until a key frame finds its queue half empty', () => {
    const stream = new LiveStream(limits)
    const player = joined(stream)
    player.queuedBytes = 1_001
    for (const tag of [inter(1), config, audio(2), key(3)]) stream.publish(tag)
    player.queuedBytes = 500
    for (const tag of [inter(4), audio(5), key(6), inter(7)]) stream.publish(tag)
    expect(player.sent).toEqual([config, key(6), inter(7)])
  })

  test('of a stream without video goes on with any audio', () => {
    const stream = new LiveStream(limits)
    const player = joined(stream)
    player.queuedBytes = 1_001
    stream.publish(audio(1))
    player.queuedBytes = 0
    stream.publish(audio(2))
    expect(player.sent).toEqual([audio(2)])
  })

  test('is cut far above the limit, and the others are not', () => {
    const stream = new LiveStream(limits)
    const [slow, other] = [joined(stream), joined(stream)]
    slow.queuedBytes = 4_001
    stream.publish(key(1))
    expect(slow.ended).toBe('too-slow')
    expect(other.sent).toEqual([key(1)])
    expect(stream.playerCount).toBe(1)
  })
})
