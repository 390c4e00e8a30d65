import { describe, expect, it } from 'vitest'
import { isReadAlikeBySrs, vhostsAsSrsReads } from './srs-query.ts'

describe('queries as SRS reads them', () => {
  it.each([
    ['app=live&stream=s', true],
    ['app=live&stream=s&token=a,b;c=d', true],
    ['stream=s&&app=live', true],
    // Out of step, SRS finds no stream, and serves none.
    ['token=a=&stream=s', true],
    ['app=live', true],
    ['stream=s&stream=secret', false],
    ['stream=s&x=1,stream=secret', false],
    ['stream=s&x=1;stream=secret', false],
    ['stream=s&a;b;stream;secret', false],
    ['stream=s&a=stream=secret', true],
    ['stream=s&a=b=stream=secret', false],
    ['stream=s&stream', false],
    ['stream=a=b', false],
    ['stream=a,b', false],
    ['x=1,stream=secret', false],
  ])('%s names one stream: %s', (query, isAlike) => {
    expect(isReadAlikeBySrs(query, 'stream')).toBe(isAlike)
  })

  it('finds every text that could be the vhost', () => {
    expect(vhostsAsSrsReads('vhost=a&x=1,vhost=b;domain=c&y?vhost=d&vhost=&vhost')).toEqual([
      'a',
      'b',
      'c',
      'd',
    ])
    expect(vhostsAsSrsReads('avhost=x&app=live')).toEqual([])
  })
})
