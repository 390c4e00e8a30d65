import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ManifestUri, rewriteManifest } from './rewrite-manifest.ts'

const MANIFEST = `<?xml version="1.0"?>
<!-- <BaseURL>comment/</BaseURL> -->
<MPD type="dynamic" profiles="a>b"><Location>http://o/live/s.mpd?a=1&amp;b=2</Location>
 <BaseURL serviceLocation="x">
   s/ </BaseURL>
 <Period><AdaptationSet><x:SegmentTemplate x:foo='media="no"' media="$RepresentationID$-$Number$.m4s"
   initialization='init.mp4?x=1&amp;y=2' timescale="1"/>
  <SegmentList><Initialization sourceURL="i.mp4" range="0-1"/><SegmentURL media="1.m4s" mediaRange="1-2"/></SegmentList>
  <BaseURL/><Title media="no"><![CDATA[<BaseURL>no</BaseURL>]]></Title>
 </AdaptationSet></Period></MPD>`

describe('rewriteManifest', () => {
  it('finds base URLs, locations and segments, and nothing in comments, CDATA and values', () => {
    expect(urisOf(MANIFEST)).toEqual([
      { uri: 'http://o/live/s.mpd?a=1&b=2', kind: 'location' },
      { uri: 's/', kind: 'base' },
      { uri: '$RepresentationID$-$Number$.m4s', kind: 'segment' },
      { uri: 'init.mp4?x=1&y=2', kind: 'segment' },
      { uri: 'i.mp4', kind: 'segment' },
      { uri: '1.m4s', kind: 'segment' },
    ])
  })

  it('writes decisions with XML escapes and leaves the rest', () => {
    const text = '<BaseURL> a?b=1&amp;c=2 </BaseURL>\r\n<SegmentURL media="x" />'
    const { bytes, isChanged } = rewriteManifest(Buffer.from(text), ({ uri }) => `${uri}&z="1"`)
    expect(bytes.toString()).toBe(
      '<BaseURL> a?b=1&amp;c=2&amp;z=&quot;1&quot; </BaseURL>\r\n<SegmentURL media="x&amp;z=&quot;1&quot;" />',
    )
    expect(isChanged).toBe(true)
  })

  it('gives any bytes back as they were when nothing is decided', () => {
    fc.assert(
      fc.property(manifestText, (text) => {
        const bytes = Buffer.from(text, 'latin1')
        expect(rewriteManifest(bytes, () => undefined)).toEqual({ bytes, isChanged: false })
      }),
    )
  })

  it('changes only what it asked about, whatever the bytes are', () => {
    fc.assert(
      fc.property(manifestText, (text) => {
        const output = rewriteManifest(Buffer.from(text, 'latin1'), () => '\u00ff').bytes.toString('latin1')
        const kept = output.split('\u00ff')
        let at = 0
        for (const part of kept) {
          const found = text.indexOf(part, at)
          expect(found).toBeGreaterThanOrEqual(at)
          at = found + part.length
        }
      }),
    )
  })

  it('takes time in proportion to the length', () => {
    const started = performance.now()
    for (const part of ['<BaseURL>', '<SegmentURL media="', '<', '<!--', '<SegmentURL a', ' media= ']) {
      rewriteManifest(Buffer.from(part.repeat(Math.floor(2_000_000 / part.length))), () => undefined)
    }
    expect(performance.now() - started).toBeLessThan(20_000)
  })
})

const manifestText = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '<BaseURL>',
        '</BaseURL>',
        '<SegmentURL media="',
        'media="',
        '"',
        '/>',
        '<!--',
        '-->',
        '<![CDATA[',
        ']]>',
        '&amp;',
        ' ',
        'x',
      ),
      fc.string({ maxLength: 4, unit: 'binary-ascii' }),
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''))

function urisOf(text: string): ManifestUri[] {
  const found: ManifestUri[] = []
  rewriteManifest(Buffer.from(text), (uri) => {
    found.push(uri)
    return undefined
  })
  return found
}
