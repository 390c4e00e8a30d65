import { describe, expect, it } from 'vitest'
import {
  contextOf,
  credentialsOf,
  isBlockingReload,
  isOfDash,
  spbhidOf,
  withoutSpbhid,
  withParameters,
  withSpbhid,
} from './hls-query.ts'

describe('queries of HLS', () => {
  it('puts spbhid before what a URI has', () => {
    expect(withSpbhid('a.ts', '1234567', false)).toBe('a.ts?spbhid=1234567')
    expect(withSpbhid('a.ts?', '1234567', false)).toBe('a.ts?spbhid=1234567')
    expect(withSpbhid('a.ts?b=1&c#d', '1234567', false)).toBe('a.ts?spbhid=1234567&b=1&c#d')
    expect(withSpbhid('a.m4s?b', '1234567', true)).toBe('a.m4s?spbhid=1234567&spbdash=1&b')
  })

  it('finds and takes out its own parameters, also as the SRS proxy writes them', () => {
    expect(spbhidOf('spbhid=e6caffb&&hls_ctx=65kh6ok5')).toBe('e6caffb')
    expect(spbhidOf('xspbhid=1&a=spbhid=2')).toBe('')
    expect(isOfDash('spbhid=1&spbdash=1&a')).toBe(true)
    expect(withoutSpbhid('spbhid=e6caffb&&hls_ctx=65kh6ok5&spbdash=1')).toBe('hls_ctx=65kh6ok5')
    expect(withoutSpbhid('a=1&&b')).toBe('a=1&&b')
    expect(contextOf('spbhid=e6caffb&&hls_ctx=65kh6ok5')).toBe('65kh6ok5')
    expect(contextOf('hls_ctx=')).toBeUndefined()
  })

  it('takes for credentials what nobody put there by himself', () => {
    expect(credentialsOf('hls_ctx=a&token=x&_HLS_msn=4&_HLS_part=1&spbhid=1&CMCD=bl%3D1&_=17&key')).toBe(
      'token=x&key',
    )
    expect(isBlockingReload('token=x&_HLS_msn=4')).toBe(true)
    expect(isBlockingReload('x_HLS_msn=4')).toBe(false)
  })

  it('adds the parameters that a URI does not name', () => {
    expect(withParameters('a.m3u8', '')).toBe('a.m3u8')
    expect(withParameters('a.m3u8?token=own#f', 'token=x&b=1')).toBe('a.m3u8?token=own&b=1#f')
  })
})
