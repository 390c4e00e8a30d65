import { hostCandidateText, isCandidateLine, type PublicAddress } from './candidate.ts'
import { type SdpLine, SessionDescription } from './session-description.ts'

/**
 * An offer, or a trickled fragment of one, on its way to the origin: without candidates, so that an origin
 * with full ICE can reach the client only through the gateway. `a=end-of-candidates` goes as well, since an
 * agent that is told there are none may give up instead of waiting for the client's checks. The default
 * destination in `m=`, `c=` and `a=rtcp` would name one of the removed candidates, which RFC 8839 §5.4 calls a
 * mismatch; it becomes the "none yet" form of RFC 8840 §4.1.1. Everything else stays as it is.
 */
export function withoutCandidates(offer: SessionDescription): SessionDescription {
  const lines = offer.lines.filter((line) => !isCandidateLine(line) && line.text !== 'a=end-of-candidates')
  return new SessionDescription(lines.map((line) => withDestination(line, nowhere)))
}

/**
 * An answer on its way to the client: in each media section that had candidates, one host candidate per
 * public address takes the place of the first, and the others go, those nobody listens on (TCP, reflexive,
 * mDNS) included. When no section had any, the first media section that is not refused gets them. Addresses and
 * ports of the origin in `m=`, `c=` and `a=rtcp` become the first public address, as does the origin's own in `o=`,
 * which some write there and nobody connects to. Everything else stays as it is.
 *
 * @param publicAddresses at least one, the preferred one, which is UDP, first
 */
export function withPublicCandidates(
  answer: SessionDescription,
  publicAddresses: readonly PublicAddress[],
): SessionDescription {
  const [first] = publicAddresses
  if (first === undefined) throw new RangeError('an answer needs at least one public address')
  const texts = publicAddresses.map(hostCandidateText)
  const [session = [], ...media] = answer.sections()
  let chosen = media.map((section) => section.some(isCandidateLine))
  if (!chosen.includes(true)) {
    const open = media.findIndex((section) => mediaPort(section) !== '0')
    chosen = media.map((_, i) => i === open)
  }
  const sections = media.map((section, i) =>
    chosen[i] === true ? replaceCandidates(section, texts) : section,
  )
  const lines = [session.filter((line) => !isCandidateLine(line)), ...sections].flat()
  return new SessionDescription(lines.map((line) => withDestination(withAuthor(line, first), first)))
}

/** An `o=` line with another address (RFC 8866 §5.2), or the line as it was when it names none that leads anywhere. */
function withAuthor(line: SdpLine, { address }: PublicAddress): SdpLine {
  if (!line.text.startsWith('o=')) return line
  const [user, id, version, , , old = ''] = line.text.split(' ')
  if (/^(?:0\.0\.0\.0|127(?:\.\d+){3}|::1?|)$/.test(old)) return line
  return { ...line, text: [user, id, version, network(address)].join(' ') }
}

/** Port 9 and an unspecified address stand for "no default destination yet" (RFC 8840 §4.1.1). */
const nowhere: PublicAddress = { address: '0.0.0.0', port: 9 }

function replaceCandidates(section: readonly SdpLine[], texts: readonly string[]): SdpLine[] {
  const ending = section.find((line) => line.ending !== '')?.ending ?? '\r\n'
  const candidates = texts.map((text) => ({ text, ending }))
  const kept = section.filter((line) => !isCandidateLine(line))
  const first = section.findIndex(isCandidateLine)
  const at = first === -1 ? kept.findLastIndex((line) => line.text !== '') + 1 : first
  // The line before may be the end of a text without a newline.
  const before = kept.slice(0, at).map((line) => (line.ending === '' ? { text: line.text, ending } : line))
  return [...before, ...candidates, ...kept.slice(at)]
}

/** The line with another default destination, or as it was when it names none or is no such line. */
function withDestination(line: SdpLine, destination: PublicAddress): SdpLine {
  const text = destinationText(line.text, destination)
  return text === line.text ? line : { ...line, text }
}

function destinationText(text: string, { address, port }: PublicAddress): string {
  if (text.startsWith('c=')) return isUnspecified(text.slice(2)) ? text : `c=${network(address)}`
  if (text.startsWith('m=')) {
    const [media, old = '', ...rest] = text.split(' ')
    return old === '0' || old === '9' ? text : [media, port, ...rest].join(' ')
  }
  if (text.startsWith('a=rtcp:')) {
    const [old, ...rest] = text.slice('a=rtcp:'.length).split(' ')
    const names = rest.join(' ')
    if (old === '9' && (names === '' || isUnspecified(names))) return text
    return names === '' ? `a=rtcp:${port}` : `a=rtcp:${port} ${network(address)}`
  }
  return text
}

function network(address: string): string {
  return `IN ${address.includes(':') ? 'IP6' : 'IP4'} ${address}`
}

function isUnspecified(connection: string): boolean {
  return connection === 'IN IP4 0.0.0.0' || connection === 'IN IP6 ::'
}

function mediaPort(section: readonly SdpLine[]): string | undefined {
  return section[0]?.text.split(' ', 2)[1]
}
