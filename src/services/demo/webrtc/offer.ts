import { DemoError, DemoErrorCode } from '../errors.ts'

/** A codec that publisher and viewers have in common. `profile` tells H.264 variants apart, else empty. */
export interface Codec {
  readonly name: 'vp8' | 'h264' | 'opus'
  readonly profile: string
}

/** The one codec of each kind of media that a publisher sends. */
export type Codecs = { readonly [K in MediaKind]?: Codec }

export type MediaKind = 'audio' | 'video'

/** An offer cut down to what the origin answers. */
export interface PreparedOffer {
  readonly sdp: string
  readonly codecs: Codecs
}

/**
 * Cuts an offer down so that the answer has one codec per kind of media: what `wanted` names (a viewer), or the
 * first supported one of the offer (a publisher). Everything that would make the two ends of the relay depend on
 * each other goes as well: header extensions, transport-wide congestion control, retransmission payload types, simulcast.
 * Candidates go because an ICE-lite agent learns addresses from the checks.
 *
 * @throws DemoError `DEMO_OFFER_INVALID`, or `DEMO_CODEC_UNSUPPORTED` when no codec fits
 */
export function prepareOffer(sdp: string, wanted?: Codecs): PreparedOffer {
  const [session = [], ...media] = sections(sdp)
  const whole = sdp.startsWith('v=0') && /^a=ice-ufrag:\S/m.test(sdp) && /^a=fingerprint:\S/m.test(sdp)
  if (!whole || media.length === 0 || media.length > MAX_MEDIA_SECTIONS) {
    throw new DemoError(
      DemoErrorCode.offerInvalid,
      'offer without media, ICE credentials or fingerprint, or with too many media sections',
      400,
    )
  }
  const codecs: { -readonly [K in MediaKind]?: Codec } = {}
  const cut = media.map((lines) => {
    const kind = mediaKind(lines)
    if (kind === undefined || codecs[kind] !== undefined) return lines.filter(isKeptLine)
    const choice = choose(lines, kind, wanted)
    if (choice === undefined) return lines.filter(isKeptLine)
    if (wanted === undefined && attribute(lines, 'ssrc:', '') === undefined) {
      // Without the negotiated mid extension, the SSRC is all that tells whose packets they are.
      throw new DemoError(DemoErrorCode.offerInvalid, `offer names no SSRC for its ${kind}`, 400)
    }
    codecs[kind] = choice.codec
    return keepPayloadType(lines, choice.payloadType)
  })
  if ((codecs.video ?? codecs.audio) === undefined || (wanted?.video && codecs.video === undefined)) {
    throw new DemoError(
      DemoErrorCode.codecUnsupported,
      `no codec fits; ${wanted?.video ? `the stream has ${wanted.video.name}` : 'VP8, H.264 and Opus are supported'}`,
      406,
    )
  }
  return { sdp: `${[session.filter(isKeptLine), ...cut].flat().join('\r\n')}\r\n`, codecs }
}

const MAX_MEDIA_SECTIONS = 8
const DROPPED =
  /^a=(?:candidate|end-of-candidates|extmap|extmap-allow-mixed|simulcast|rid|ssrc-group|rtcp-fb:\S+ transport-cc)(?::|$)/
const KEPT_FEEDBACK = /^a=rtcp-fb:\S+ (?:nack|nack pli|ccm fir|goog-remb)$/
const SUPPORTED: Readonly<Record<MediaKind, readonly string[]>> = { audio: ['opus'], video: ['vp8', 'h264'] }

function sections(sdp: string): string[][] {
  const result: string[][] = [[]]
  for (const line of sdp.split(/\r?\n/)) {
    if (line === '') continue
    if (line.startsWith('m=')) result.push([])
    result.at(-1)?.push(line)
  }
  return result
}

function mediaKind(lines: readonly string[]): MediaKind | undefined {
  return /^m=(audio|video) [1-9]/.exec(lines[0] ?? '')?.[1] as MediaKind | undefined
}

function isKeptLine(line: string): boolean {
  return !DROPPED.test(line)
}

interface Choice {
  readonly payloadType: string
  readonly codec: Codec
}

function choose(lines: readonly string[], kind: MediaKind, wanted: Codecs | undefined): Choice | undefined {
  const offered = offeredCodecs(lines, kind)
  if (wanted === undefined) return offered[0]
  const codec = wanted[kind]
  if (codec === undefined) return undefined
  const sameName = offered.filter((choice) => choice.codec.name === codec.name)
  return (
    sameName.find((choice) => choice.codec.profile === codec.profile) ??
    // Decoders take other profiles than they ask for; the packetization mode must be the same.
    sameName.find((choice) => choice.codec.profile.at(-1) === codec.profile.at(-1))
  )
}

function offeredCodecs(lines: readonly string[], kind: MediaKind): Choice[] {
  const payloadTypes = (lines[0] ?? '').split(' ').slice(3)
  return payloadTypes.flatMap((payloadType) => {
    const name = attribute(lines, `rtpmap:${payloadType}`)?.split('/')[0]?.toLowerCase()
    if (name === undefined || !SUPPORTED[kind].includes(name)) return []
    const profile = name === 'h264' ? h264Profile(attribute(lines, `fmtp:${payloadType}`) ?? '') : ''
    return [{ payloadType, codec: { name: name as Codec['name'], profile } }]
  })
}

function attribute(lines: readonly string[], name: string, separator = ' '): string | undefined {
  const start = `a=${name}${separator}`
  return lines.find((line) => line.startsWith(start))?.slice(start.length)
}

/** Profile and packetization mode, such as `constrained-baseline/1`. RFC 6184 §8.1, table 5. */
function h264Profile(parameters: string): string {
  const id = /(?:^|[; ])profile-level-id=([0-9a-f]{6})/i.exec(parameters)?.[1] ?? '42000a'
  const mode = /(?:^|[; ])packetization-mode=([01])/.exec(parameters)?.[1] ?? '0'
  const profile = Number.parseInt(id.slice(0, 2), 16)
  const constraints = Number.parseInt(id.slice(2, 4), 16)
  const isConstrainedBaseline =
    (profile === 0x42 && (constraints & 0x40) !== 0) || (profile === 0x4d && (constraints & 0x80) !== 0)
  return `${isConstrainedBaseline ? 'constrained-baseline' : profile.toString(16)}/${mode}`
}

function keepPayloadType(lines: readonly string[], payloadType: string): string[] {
  const [first = '', ...rest] = lines
  const kept = rest.filter((line) => {
    const described = /^a=(rtpmap|fmtp|rtcp-fb):(\S+)/.exec(line)
    if (described === null) return isKeptLine(line)
    if (described[1] === 'rtcp-fb') {
      return (described[2] === payloadType || described[2] === '*') && KEPT_FEEDBACK.test(line)
    }
    return described[2] === payloadType
  })
  return [[...first.split(' ').slice(0, 3), payloadType].join(' '), ...kept]
}
