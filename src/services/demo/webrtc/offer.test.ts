import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DemoError } from '../errors.ts'
import { prepareOffer } from './offer.ts'

const offer = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'a=extmap-allow-mixed',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111 63 0',
  'a=mid:0',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=fingerprint:sha-256 00:11',
  'a=candidate:1 1 udp 2122260223 5c2f.local 50000 typ host',
  'a=sendonly',
  'a=rtpmap:111 opus/48000/2',
  'a=fmtp:111 minptime=10;useinbandfec=1',
  'a=rtcp-fb:111 transport-cc',
  'a=rtpmap:63 red/48000/2',
  'a=rtpmap:0 PCMU/8000',
  'a=ssrc:1 cname:x',
  'm=video 9 UDP/TLS/RTP/SAVPF 45 96 97 102 103 104 106 108',
  'a=mid:1',
  'a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
  'a=sendonly',
  'a=rtpmap:45 AV1/90000',
  'a=rtpmap:96 VP8/90000',
  'a=rtcp-fb:96 goog-remb',
  'a=rtcp-fb:96 transport-cc',
  'a=rtcp-fb:96 ccm fir',
  'a=rtcp-fb:96 nack',
  'a=rtcp-fb:96 nack pli',
  'a=rtpmap:97 rtx/90000',
  'a=fmtp:97 apt=96',
  'a=rtpmap:102 H264/90000',
  'a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f',
  'a=rtpmap:104 H264/90000',
  'a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f',
  'a=rtpmap:106 H264/90000',
  'a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f',
  'a=rtpmap:108 H264/90000',
  'a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f',
  'a=ssrc-group:FID 2 3',
  'a=ssrc:2 cname:x',
  'a=ssrc:3 cname:x',
  '',
].join('\r\n')

function code(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (error instanceof DemoError) return error.code
    throw error
  }
}

describe('a publisher', () => {
  test('gets the first supported codec of each kind, and nothing that ties the relay', () => {
    const { codecs, sdp } = prepareOffer(offer)
    expect(codecs).toEqual({ audio: { name: 'opus', profile: '' }, video: { name: 'vp8', profile: '' } })
    expect(sdp.match(/^m=.*/gm)).toEqual([
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'm=video 9 UDP/TLS/RTP/SAVPF 96',
    ])
    expect(sdp.match(/^a=rtcp-fb:.*(?=\r)/gm)).toEqual([
      'a=rtcp-fb:96 goog-remb',
      'a=rtcp-fb:96 ccm fir',
      'a=rtcp-fb:96 nack',
      'a=rtcp-fb:96 nack pli',
    ])
    expect(sdp).not.toMatch(/candidate|extmap|ssrc-group|rtx|red/)
    expect(sdp).toContain('a=fmtp:111 minptime=10;useinbandfec=1\r\n')
  })

  test('without SSRC, credentials, media or codec is refused by name', () => {
    expect(code(() => prepareOffer(offer.replaceAll(/a=ssrc:.*\r\n/g, '')))).toBe('DEMO_OFFER_INVALID')
    expect(code(() => prepareOffer(offer.replace(/a=ice-ufrag.*\r\n/, '')))).toBe('DEMO_OFFER_INVALID')
    expect(code(() => prepareOffer(offer.replaceAll('m=', 'x=')))).toBe('DEMO_OFFER_INVALID')
    expect(code(() => prepareOffer(offer.replaceAll(/VP8|H264|opus/g, 'G722')))).toBe(
      'DEMO_CODEC_UNSUPPORTED',
    )
  })
})

function h264(profile: string): { video: { name: 'h264'; profile: string } } {
  return { video: { name: 'h264', profile } }
}

describe('a viewer', () => {
  test.each([
    ['constrained-baseline/1', 106],
    ['42/1', 102],
    ['constrained-baseline/0', 104],
    ['64/1', 108],
    ['4d/1', 102],
  ])('of H.264 %s gets payload type %i', (profile, payloadType) => {
    const { sdp } = prepareOffer(offer, h264(profile))
    expect(sdp).toContain(`m=video 9 UDP/TLS/RTP/SAVPF ${payloadType}\r\n`)
  })

  test('who cannot decode the stream is refused', () => {
    expect(code(() => prepareOffer(offer.replaceAll('H264', 'H265'), h264('64/1')))).toBe(
      'DEMO_CODEC_UNSUPPORTED',
    )
  })
})

test('any text gives an offer or an error of ours', () => {
  const lines = offer.split('\r\n')
  const mutated = fc
    .array(fc.oneof(fc.constantFrom(...lines), fc.string()), { maxLength: 60 })
    .map((all) => all.join('\r\n'))
  fc.assert(
    fc.property(
      fc.oneof(
        mutated,
        fc.string(),
        mutated.map((text) => `${offer}${text}`),
      ),
      (text) => {
        code(() => prepareOffer(text))
        code(() => prepareOffer(text, { video: { name: 'h264', profile: '42/1' } }))
      },
    ),
  )
})
