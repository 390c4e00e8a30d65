import { describe, expect, it } from 'vitest'
import { isApiPath } from './api-path.ts'

describe('isApiPath', () => {
  it.each([
    '/api/v1/clients/x.flv',
    '/api/v1/raw/s.ts',
    '//api/v1/s.m3u8',
    '/%61pi/v1/s.flv',
    '/rtc/v1/play/s.m3u8',
  ])('%s is SRS’s own', (path) => expect(isApiPath(path)).toBe(true))

  it.each(['/live/s.flv', '/api/s.flv', '/apis/v1/s.flv', '/live/api/v1/s.flv', '/rtc/s.m3u8', '/api/%zz'])(
    '%s is a stream’s',
    (path) => expect(isApiPath(path)).toBe(false),
  )
})
