import { describe, expect, test } from 'vitest'
import { streamKeyOfSrt } from './srt-stream-key.ts'

const srs = { keys: 'srs', vhosts: [] } as const
const normal = { keys: 'normal', vhosts: ['cdn.example.com'] } as const

describe('the key of an SRT stream id', () => {
  test.each([
    // The table of the SRS proxy.
    [undefined, 'live/s', '__defaultVhost__/live/s'],
    ['cdn.example.com', 'live/s', 'cdn.example.com/live/s'],
    ['vhost', 'live/livestream?token=x', '__defaultVhost__/live/livestream'],
    ['192.0.2.1', 'live/s', '__defaultVhost__/live/s'],
    ['CDN.Example.com', 'live/S%20a', 'CDN.Example.com/live/S a'],
    [undefined, 's', '__defaultVhost__/s'],
    [undefined, 'live//s', '__defaultVhost__/live//s'],
    [undefined, 'live/s?x=/y', '__defaultVhost__/live/s'],
  ])('of %s and %s, as the SRS proxy makes it, is %s', (host, resource, key) => {
    expect(streamKeyOfSrt(host, resource, srs)).toBe(key)
  })

  test.each([
    [undefined, 'live/s', '__defaultVhost__/live/s'],
    ['CDN.example.com', 'live/s', 'cdn.example.com/live/s'],
    ['other.example.com', '/live//s', '__defaultVhost__/live/s'],
    [undefined, 'a/b/s?vhost=cdn.example.com', 'cdn.example.com/a/b/s'],
  ])('of %s and %s is %s', (host, resource, key) => {
    expect(streamKeyOfSrt(host, resource, normal)).toBe(key)
  })

  test.each(['s', '', '/', 'live/', '../s', 'live/%zz'])('is none of %s', (resource) => {
    expect(() => streamKeyOfSrt(undefined, resource, normal)).toThrow(
      expect.objectContaining({ code: 'BALANCER_BAD_STREAM_KEY' }),
    )
  })

  test('is none of a host with a port that is no number', () => {
    expect(() => streamKeyOfSrt('h:x', 'live/s', srs)).toThrow(
      expect.objectContaining({ code: 'BALANCER_BAD_STREAM_KEY' }),
    )
  })
})
