const START_KBIT_PER_SECOND = 1_500

/**
 * Tells Chromium, in the answer to a publisher, at what rate to begin. Without transport-wide congestion control it
 * would begin at 300 kbit/s and add eight percent a second: a small picture for most of a minute. Others do not know
 * the parameter.
 */
export function withStartBitRate(answer: string): string {
  const payloadType = /^m=video \d+ \S+ (\d+)/m.exec(answer)?.[1]
  if (payloadType === undefined) return answer
  const parameter = `x-google-start-bitrate=${START_KBIT_PER_SECOND}`
  const existing = new RegExp(`^a=fmtp:${payloadType} .*`, 'm')
  if (existing.test(answer)) return answer.replace(existing, (line) => `${line};${parameter}`)
  const map = new RegExp(`^a=rtpmap:${payloadType} .*`, 'm')
  return answer.replace(map, (line) => `${line}\r\na=fmtp:${payloadType} ${parameter}`)
}
