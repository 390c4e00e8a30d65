import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { originStreamId, parseStreamId, writeStreamId } from './stream-id.ts'

describe('a stream id', () => {
  test.each([
    ['#!::r=live/livestream,m=publish', { path: 'live/livestream', role: 'publish' }],
    ['#!::r=live/livestream,m=request', { path: 'live/livestream', role: 'play' }],
    ['#!::r=live/livestream', { path: 'live/livestream' }],
    ['#!::m=PUBLISH,r=live/s', { path: 'live/s', role: 'publish' }],
    ['#!::h=cdn.example.com,r=live/s', { host: 'cdn.example.com', path: 'live/s' }],
    [
      '#!::h=vhost,r=live/livestream?token=x,m=publish',
      { host: 'vhost', path: 'live/livestream', role: 'publish', query: 'token=x' },
    ],
    [
      '#!::u=me,s=secret,t=stream,r=live/s,x-y=1',
      {
        path: 'live/s',
        others: [
          ['u', 'me'],
          ['s', 'secret'],
          ['t', 'stream'],
          ['x-y', '1'],
        ],
      },
    ],
    // The SRS proxy takes `auth=x` for a host.
    ['#!::auth=x,r=live/s', { path: 'live/s', others: [['auth', 'x']] }],
    ['#!::h=live/s,m=publish', { path: 'live/s', role: 'publish' }],
    [
      '#!::h=a.example.com/live/s?k=1,m=publish',
      { host: 'a.example.com', path: 'live/s', role: 'publish', query: 'k=1' },
    ],
  ])('with keys: %s', (text, expected) => {
    expect(parseStreamId(text)).toEqual({ form: 'keys', query: '', others: [], ...expected })
  })

  test.each([
    ['publish:live/s', { path: 'live/s', role: 'publish' }],
    ['read:live/s', { path: 'live/s', role: 'play' }],
    ['request:live/s', { path: 'live/s', role: 'play' }],
    ['publish:live/s:token=x', { path: 'live/s', role: 'publish', query: 'token=x' }],
    [
      'publish:live/s:me:secret',
      {
        path: 'live/s',
        role: 'publish',
        others: [
          ['u', 'me'],
          ['s', 'secret'],
        ],
      },
    ],
    [
      'read:live/s?a=1:me:secret:b=2',
      {
        path: 'live/s',
        role: 'play',
        query: 'a=1&b=2',
        others: [
          ['u', 'me'],
          ['s', 'secret'],
        ],
      },
    ],
  ])('with an action: %s', (text, expected) => {
    expect(parseStreamId(text)).toEqual({ form: 'action', query: '', others: [], ...expected })
  })

  test.each([
    ['live/s', { path: 'live/s' }],
    ['live/s?token=a/b?c', { path: 'live/s', query: 'token=a/b?c' }],
    ['s', { path: 's' }],
    ['other:live/s', { path: 'other:live/s' }],
  ])('that is plain: %s', (text, expected) => {
    expect(parseStreamId(text)).toEqual({ form: 'plain', query: '', others: [], ...expected })
  })

  test.each([
    ['', 'empty'],
    ['?x', 'no-resource'],
    ['#!::', 'bad-pair'],
    ['#!::m=publish', 'no-resource'],
    ['#!::r=,m=publish', 'no-resource'],
    ['#!::h=host,m=publish', 'no-resource'],
    ['#!::r', 'bad-pair'],
    ['#!::=x,r=live/s', 'bad-pair'],
    ['#!::r=live/s,m=bidirectional', 'bad-mode'],
    ['#!::r=live/s,r=live/t', 'ambiguous'],
    ['#!::r=live/s,u=a,u=b', 'ambiguous'],
    // What SRS would take for another resource or mode.
    ['#!::r=live/s?r=live/t', 'ambiguous'],
    ['#!::r=live/s,u=x&r=live/t', 'ambiguous'],
    ['#!::r=live/s,u=x;m=publish,m=request', 'ambiguous'],
    ['#!::r=live/s;t', 'ambiguous'],
    ['#!::r=live/s=t', 'ambiguous'],
    ['publish:', 'no-resource'],
    ['publish:live/s:a:b:c:d', 'bad-action'],
  ])('%s has the fault %s', (text, fault) => {
    expect(parseStreamId(text)).toBe(fault)
  })

  test('of any text is read or has a fault', () => {
    const part = fc.constantFrom(
      '#!::',
      'r=',
      'h=',
      'm=',
      ',',
      'live/s',
      '?',
      '=',
      ':',
      'publish',
      'x',
      '&',
      ';',
    )
    const text = fc.oneof(
      fc.string(),
      fc.array(part, { maxLength: 12 }).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(text, (id) => {
        const parsed = parseStreamId(id)
        if (typeof parsed === 'string') return
        expect(parsed.path).not.toBe('')
        const written = writeStreamId(parsed, 'play')
        if (written === undefined) return
        expect(parseStreamId(written)).toEqual({ ...parsed, form: 'keys', role: parsed.role ?? 'play' })
      }),
      { numRuns: 2000 },
    )
  })
})

describe('for an origin', () => {
  test.each([
    ['publish:live/s', '#!::r=live/s,m=publish'],
    ['read:live/s:me:pw:k=1', '#!::r=live/s?k=1,m=request,u=me,s=pw'],
    ['live/s?k=1', '#!::r=live/s?k=1,m=publish'],
  ])('%s is written %s', (text, expected) => {
    const id = parseStreamId(text)
    expect(typeof id === 'string' ? id : writeStreamId(id, 'publish')).toBe(expected)
  })

  test.each(['live/s,r=live/t', 'live/s;r=live/t', 'publish:live/s?m=request', 'publish:live/s:me:a,b=c'])(
    '%s would say something else there',
    (text) => {
      const id = parseStreamId(text)
      expect(typeof id === 'string' ? id : writeStreamId(id, 'publish')).toBeUndefined()
    },
  )

  test.each([
    ['publish:live/s', 'publish', '', 'publish:live/s'],
    ['publish:live/s', 'play', '', 'read:live/s'],
    ['publish:live/s', 'play', 'k=1', 'read:live/s:k=1'],
    ['publish:live/s:u:p', 'publish', 'k=1', 'publish:live/s:u:p:k=1'],
    ['publish:live/s:u:p:a=1', 'publish', 'k=1', 'publish:live/s:u:p:a=1&k=1'],
    ['#!::r=live/s,m=publish', 'play', 'k=1', '#!::r=live/s?k=1,m=request'],
    ['#!::m=publish,r=live/s?a=1,u=x', 'publish', 'k=1', '#!::m=publish,r=live/s?a=1&k=1,u=x'],
    ['live/s', 'play', 'k=1', 'live/s?k=1'],
    ['live/s?a=1', 'play', 'k=1', 'live/s?a=1&k=1'],
    ['', 'play', 'k=1', ''],
  ] as const)('that names it %s, for %s with "%s", it is %s', (named, role, query, expected) => {
    expect(originStreamId(named, { stream: 'live/s', role, query })).toBe(expected)
  })

  test.each([
    ['#!::r=live/s,m=request,m=publish', 'live/s,m=request', ''],
    ['#!::r=live/s,m=publish', 'live/s', 'k=1,r=live/t'],
    ['#!::r=live/s,m=publish', 'live/s', 'r=live/t'],
    ['publish:live/s:u:p', 'live/s:u:p', ''],
    ['publish:live/s', 'live/s', 'k=1:u:p'],
  ])('that would name it %s, for %s with "%s", there is none', (named, stream, query) => {
    expect(originStreamId(named, { stream, role: 'publish', query })).toBeUndefined()
  })
})
