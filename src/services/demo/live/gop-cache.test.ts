import { expect, test } from 'vitest'
import { FlvTagType } from '../../../protocols/flv/index.ts'
import { GopCache } from './gop-cache.ts'

test('who joins late gets metadata at time 0, decoder set-up at the time of the key frame, then all since', () => {
  const cache = new GopCache({ maxBytes: 1000, maxTags: 10 })
  const tag = (type: number, timestamp: number) => ({ type, timestamp, payload: Uint8Array.of(1) })
  cache.add(tag(FlvTagType.script, 5), { kind: 'metadata', slot: 'metadata' })
  cache.add(tag(FlvTagType.video, 7), { kind: 'config', slot: 'video' })
  cache.add(tag(FlvTagType.video, 6000), { kind: 'keyframe', slot: '' })
  cache.add(tag(FlvTagType.audio, 6010), { kind: 'audio', slot: '' })
  expect(cache.tags().map(({ type, timestamp }) => [type, timestamp])).toEqual([
    [FlvTagType.script, 0],
    [FlvTagType.video, 6000],
    [FlvTagType.video, 6000],
    [FlvTagType.audio, 6010],
  ])
})
