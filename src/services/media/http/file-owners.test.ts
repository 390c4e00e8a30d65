import { describe, expect, it } from 'vitest'
import { fileOwners, isFile } from './file-owners.ts'

describe('files of streams', () => {
  it('may be of every stream that their name begins with, or of their directory', () => {
    expect(fileOwners('/live/s-2024-33.ts')).toEqual(['/live/s-2024', '/live/s', '/live'])
    expect(fileOwners('/live/s.1700000000.flv')).toEqual(['/live/s', '/live'])
    expect(fileOwners('/live/s/33.ts')).toEqual(['/live/s'])
    expect(fileOwners('/live/-.ts')).toEqual(['/live'])
    expect(fileOwners(`/live/${'a-'.repeat(500)}1.ts`)).toHaveLength(9)
  })

  it('are told by their headers', () => {
    const head = { minorVersion: 1, status: 200, reason: 'OK', headers: [{ name: 'ETag', value: '"x"' }] }
    expect(isFile(head)).toBe(true)
    expect(isFile({ ...head, status: 302 })).toBe(false)
    expect(isFile({ ...head, headers: [{ name: 'Transfer-Encoding', value: 'chunked' }] })).toBe(false)
  })
})
