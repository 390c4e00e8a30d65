import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PlaylistUriKind } from './playlist-uri-kind.ts'
import { isPlaylist, rewritePlaylist, type UriDecision } from './rewrite-playlist.ts'

describe('rewritePlaylist', () => {
  it('finds the URI of every line and tag that has one, with its kind', () => {
    const found = urisOf(
      [
        '#EXTM3U',
        '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1,mp4a"',
        '#EXT-X-SOME-COMMENT-BETWEEN',
        'v/main.m3u8',
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="URI=\\"x\\"",URI="a/main.m3u8"',
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="iframes.m3u8"',
        '#EXT-X-SESSION-KEY:METHOD=AES-128,URI="session.key"',
        '#EXT-X-SESSION-DATA:DATA-ID="d",URI="data.json"',
        '#EXT-X-CONTENT-STEERING:SERVER-URI="steer.json",PATHWAY-ID="p"',
        '#EXT-X-MAP:URI="init.mp4",BYTERANGE="10@0"',
        '#EXT-X-KEY:METHOD=AES-128,URI="k.key",IV=0x1',
        '#EXT-X-PART:DURATION=0.3,URI="p.m4s",INDEPENDENT=YES',
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="next.m4s"',
        '#EXT-X-RENDITION-REPORT:URI="../other.m3u8",LAST-MSN=1',
        '#EXT-X-DATERANGE:ID="i",X-ASSET-LIST="list.json"',
        '#EXTINF:4,title',
        's-1.ts',
        '#s-2.ts',
        '',
      ].join('\n'),
    )
    expect(found).toEqual([
      ['v/main.m3u8', 'variant'],
      ['a/main.m3u8', 'rendition'],
      ['iframes.m3u8', 'variant'],
      ['session.key', 'key'],
      ['data.json', 'data'],
      ['steer.json', 'data'],
      ['init.mp4', 'map'],
      ['k.key', 'key'],
      ['p.m4s', 'part'],
      ['next.m4s', 'hint'],
      ['../other.m3u8', 'report'],
      ['list.json', 'data'],
      ['s-1.ts', 'segment'],
    ])
  })

  it('changes nothing but the URI: line ends, blanks and a byte order mark stay', () => {
    const input =
      '\u00ef\u00bb\u00bf#EXTM3U\r\n# .ts in a comment\r\n  a.ts \r\n\r\n#EXT-X-KEY:METHOD=X, URI="k" ,A=1\r\nb.tsx'
    expect(rewritten(input, (uri) => `<${uri}>`)).toBe(
      '\u00ef\u00bb\u00bf#EXTM3U\r\n# .ts in a comment\r\n  <a.ts> \r\n\r\n#EXT-X-KEY:METHOD=X, URI="<k>" ,A=1\r\n<b.tsx>',
    )
  })

  it('does not take a name within a quoted value for an attribute', () => {
    const input =
      '#EXTM3U\n#EXT-X-MEDIA:NAME="a,URI=b",X-URI="no",URI="yes"\n#EXT-X-MAP:URI=bare,X="URI="q"\n'
    expect(urisOf(input)).toEqual([['yes', 'rendition']])
  })

  it('leaves an unclosed quote alone', () => {
    expect(urisOf('#EXTM3U\n#EXT-X-MAP:URI="init.mp4\nseg"ment.ts\n')).toEqual([['seg"ment.ts', 'segment']])
  })

  it('fills in the variables of the playlist, and leaves those of others alone', () => {
    const input = [
      '#EXTM3U',
      '#EXT-X-DEFINE:NAME="dir",VALUE="https://cdn.example.com/a"',
      '#EXT-X-DEFINE:IMPORT="token"',
      '{$dir}/1.ts',
      '2.ts?t={$token}',
    ].join('\n')
    expect(urisOf(input)).toEqual([['https://cdn.example.com/a/1.ts', 'segment']])
  })

  it('leaves variables alone that would make a playlist much larger than it is', () => {
    const long = 'x'.repeat(60_000)
    const lines = Array.from({ length: 50 }, () => '{$a}'.repeat(10_000))
    const input = ['#EXTM3U', `#EXT-X-DEFINE:NAME="a",VALUE="${long}"`, '{$a}.ts', ...lines, 'b.ts'].join(
      '\n',
    )
    expect(urisOf(input)).toEqual([
      [`${long}.ts`, 'segment'],
      ['b.ts', 'segment'],
    ])
  })

  it('says when bytes are no playlist', () => {
    for (const text of ['', '#EXTM3UX\na.ts', '<html>', '\u0000\u0001\u0002', ' #EXTM3U\n']) {
      expect(rewritePlaylist(Buffer.from(text, 'latin1'), () => 'x')).toEqual({ kind: 'no-playlist' })
    }
    expect(isPlaylist(Buffer.from('#EXTM3U'))).toBe(true)
  })

  it('refuses what is too long, as a whole or in a line', () => {
    const large = Buffer.from(`#EXTM3U\n${'a.ts\n'.repeat(10)}`)
    expect(rewritePlaylist(large, () => undefined, { maxBytes: large.length }).kind).toBe('playlist')
    expect(rewritePlaylist(large, () => undefined, { maxBytes: large.length - 1 }).kind).toBe('too-large')
    const line = Buffer.from(`#EXTM3U\n${'a'.repeat(99)}\n`)
    expect(rewritePlaylist(line, () => undefined, { maxLineBytes: 100 }).kind).toBe('playlist')
    expect(rewritePlaylist(line, () => undefined, { maxLineBytes: 99 }).kind).toBe('too-large')
    expect(rewritePlaylist(large, () => undefined, { maxUris: 10 }).kind).toBe('playlist')
    expect(rewritePlaylist(large, () => undefined, { maxUris: 9 }).kind).toBe('too-large')
  })

  it('takes time in proportion to the length, whatever the lines are', () => {
    const started = performance.now()
    for (const line of ['#EXT-X-KEY:\n', '#\n', '#EXT-X-MAP:URI="\n', '#EXT-X-MAP:=\n']) {
      const bytes = Buffer.from(`#EXTM3U\n${line.repeat(Math.floor(4_000_000 / line.length))}`)
      expect(rewritePlaylist(bytes, () => undefined).kind).toBe('playlist')
    }
    // Minutes, if each line were searched to the end of the playlist.
    expect(performance.now() - started).toBeLessThan(20_000)
  })

  it('gives any playlist back as it was when nothing is decided', () => {
    fc.assert(
      fc.property(playlistText, (text) => {
        const bytes = Buffer.from(`#EXTM3U\n${text}`, 'latin1')
        expect(rewritePlaylist(bytes, () => undefined)).toEqual({ kind: 'playlist', bytes, isChanged: false })
      }),
    )
  })

  it('never throws on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        rewritePlaylist(Buffer.from(bytes), () => 'x')
        rewritePlaylist(Buffer.concat([Buffer.from('#EXTM3U\n'), bytes]), () => 'x')
      }),
    )
  })

  it('changes only what it asked about', () => {
    fc.assert(
      fc.property(playlistText, (text) => {
        const input = `#EXTM3U\n${text}`
        const asked: string[] = []
        // A mark that no input holds, so that taking it out must give the input again.
        const output = rewritten(input, (uri) => {
          asked.push(uri)
          return `\u00ff${uri}\u00ff`
        })
        expect(output.replaceAll('\u00ff', '')).toBe(input)
        expect(output.split('\u00ff').filter((_, index) => index % 2 === 1)).toEqual(asked)
      }),
    )
  })
})

/** Texts that look like playlists here and there, without `{$` and the mark of the tests. */
const playlistText = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '#EXT-X-MAP:',
        '#EXT-X-KEY:',
        '#EXT-X-STREAM-INF:',
        'URI="',
        '"',
        ',',
        '=',
        '\r\n',
        '\n',
        ' ',
        'a.ts',
        '#',
        '\r',
      ),
      fc.string({ maxLength: 5, unit: 'binary-ascii' }),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join('').replaceAll('{$', ''))

function rewritten(text: string, decide: UriDecision): string {
  const result = rewritePlaylist(Buffer.from(text, 'latin1'), decide)
  if (result.kind !== 'playlist') throw new Error(result.kind)
  return result.bytes.toString('latin1')
}

function urisOf(text: string): (readonly [string, PlaylistUriKind])[] {
  const found: (readonly [string, PlaylistUriKind])[] = []
  rewritten(text, (uri, kind) => {
    found.push([uri, kind])
    return undefined
  })
  return found
}
