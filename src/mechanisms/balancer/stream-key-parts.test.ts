import { describe, expect, it } from 'vitest'
import { percentEncodePart, streamKeyParts } from './stream-key-parts.ts'
import { parseStreamKey, streamKeyOf } from './stream-key.ts'

describe('parts of a stream key', () => {
  it.each([
    ['v/live/s', 'v', 'live', 's'],
    ['v/a/b/c/s', 'v', 'a/b/c', 's'],
    ['__defaultVhost__/s', '__defaultVhost__', '', 's'],
    ['__defaultVhost__', '__defaultVhost__', '', ''],
    ['__defaultVhost__/live//s', '__defaultVhost__', 'live', 's'],
    ['__defaultVhost__//s', '__defaultVhost__', '', 's'],
    ['v/live/', 'v', 'live', ''],
    ['v/a//b/s', 'v', 'a//b', 's'],
  ])('%s', (key, vhost, app, stream) => {
    expect(streamKeyParts(parseStreamKey(key))).toEqual({ vhost, app, stream })
  })

  it('make the same key again', () => {
    for (const key of [streamKeyOf('v', 'live', 's'), streamKeyOf('', 'a/b', 'c d')]) {
      const { vhost, app, stream } = streamKeyParts(key)
      expect(streamKeyOf(vhost, app, stream)).toBe(key)
    }
  })
})

describe('escapes of a part', () => {
  it.each([
    ['a/b@c:1', 'a/b@c:1'],
    ['a b?c#d%e&f=g+h', 'a%20b%3Fc%23d%25e%26f%3Dg%2Bh'],
    ['é', '%C3%A9'],
    ['a"<>\\', 'a%22%3C%3E%5C'],
  ])('%s', (text, escaped) => {
    expect(percentEncodePart(text)).toBe(escaped)
    expect(decodeURIComponent(escaped)).toBe(text)
  })
})
