import { expect, test } from 'vitest'
import { encodeAmf0 } from '../rtmp/index.ts'
import type { RtmpMessage } from '../rtmp/index.ts'
import { flvTagOf, messageOf } from './rtmp-tag.ts'

const message = (type: number, payload: Uint8Array): RtmpMessage => ({
  chunkStreamId: 4,
  type,
  streamId: 1,
  timestamp: 0xfedcba98,
  payload,
})

test('audio and video go to a tag and back unchanged', () => {
  for (const type of [8, 9]) {
    const tag = flvTagOf(message(type, Buffer.of(1, 2)))
    expect(tag).toEqual({ type, timestamp: 0xfedcba98, payload: Buffer.of(1, 2) })
    expect(messageOf(tag!, 5)).toMatchObject({
      type,
      streamId: 5,
      timestamp: 0xfedcba98,
      payload: Buffer.of(1, 2),
    })
  }
})

test('metadata loses @setDataFrame and the byte of AMF3 messages', () => {
  const metadata = encodeAmf0('onMetaData', null)
  const framed = Buffer.concat([encodeAmf0('@setDataFrame'), metadata])
  expect(flvTagOf(message(18, framed))).toMatchObject({ type: 18, payload: metadata })
  expect(flvTagOf(message(15, Buffer.concat([Buffer.of(0), framed])))).toMatchObject({
    type: 18,
    payload: metadata,
  })
  expect(flvTagOf(message(15, Buffer.of(10)))).toBeUndefined()
})

test('other messages and tags have no counterpart', () => {
  expect(flvTagOf(message(20, Buffer.of(1)))).toBeUndefined()
  expect(messageOf({ type: 15, timestamp: 0, payload: Buffer.of(1) }, 1)).toBeUndefined()
})
