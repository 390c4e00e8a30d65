import { expect, test } from 'vitest'
import { withStartBitRate } from './start-bit-rate.ts'

test.each([
  [
    'alone',
    'a=rtpmap:96 VP8/90000\r\n',
    'a=rtpmap:96 VP8/90000\r\na=fmtp:96 x-google-start-bitrate=1500\r\n',
  ],
  [
    'beside what is there',
    'a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n',
    'a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;x-google-start-bitrate=1500\r\n',
  ],
])('the parameter stands %s', (_, before, after) => {
  const rest =
    'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n'
  expect(withStartBitRate(rest + before)).toBe(rest + after)
})

test('an answer without video stays as it is', () => {
  const answer = 'm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/48000/2\r\n'
  expect(withStartBitRate(answer)).toBe(answer)
})
