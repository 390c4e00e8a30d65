import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { opaqueString } from './opaque-string.ts'

describe('an opaque string', () => {
  it.each([
    ['printable ASCII, spaces and case', ' Correct Horse~ ', ' Correct Horse~ '],
    // RFC 8265 §4.3, example 4
    ['spaces that are not ASCII', 'foo\u1680bar\u3000', 'foo bar '],
    ['decomposed letters', 'cafe\u0301', 'caf\u00E9'],
    // RFC 8265 §4.3, examples 2 and 3
    ['other scripts and symbols', '\u03C0\u00DF\u00E5', '\u03C0\u00DF\u00E5'],
    ['symbols', 'Jack of \u2666s', 'Jack of \u2666s'],
    ['the prepared password of RFC 8489 Appendix B', 'TheMatrIX', 'TheMatrIX'],
    ['joiners, which are let through', 'a\u200Cb\u200Dc', 'a\u200Cb\u200Dc'],
    ['characters beyond 16 bits', '\u{1F511}', '\u{1F511}'],
    ['modern Hangul in pieces', '\u1112\u1161\u11AB', '\uD55C'],
  ])('of %s is prepared', (_, text, prepared) => {
    expect(opaqueString(text)).toBe(prepared)
  })

  it.each([
    ['nothing', ''],
    ['a control', 'my cat is a \u0009by'],
    ['DEL', 'a\u007F'],
    ['a control of Latin-1', 'a\u0085'],
    ['a soft hyphen', 'The\u00ADM\u00AAtr\u2168'],
    ['a mark of direction', 'a\u202Eb'],
    ['a private code point', '\uE000'],
    ['a lone surrogate', '\uD800'],
    ['an unassigned code point', '\u0378'],
    ['no character at all', '\uFFFE'],
    ['Old Hangul', '\u1113'],
  ])('does not hold %s', (_, text) => {
    expect(opaqueString(text)).toBeUndefined()
  })

  it('stays as it is when it is prepared again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const prepared = opaqueString(text)
        if (prepared !== undefined) expect(opaqueString(prepared)).toBe(prepared)
      }),
    )
  })
})
