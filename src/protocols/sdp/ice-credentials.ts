import { attributeValue, type SdpLine, type SessionDescription } from './session-description.ts'

/** The ICE user name fragment and password of one side (RFC 8839 §5.4). */
export interface IceCredentials {
  readonly ufrag: string
  readonly pwd: string
}

/**
 * The credentials of a description: those of the first media section that has them, else those before the
 * first media section. Bundled media, which is what WHIP and WHEP carry, shares them. `undefined` when one
 * is missing or not of the form that RFC 8839 §5.4 demands.
 */
export function iceCredentials(description: SessionDescription): IceCredentials | undefined {
  const [session = [], ...media] = description.sections()
  for (const section of [...media, session]) {
    const ufrag = find(section, 'ice-ufrag') ?? find(session, 'ice-ufrag')
    const pwd = find(section, 'ice-pwd') ?? find(session, 'ice-pwd')
    if (ufrag !== undefined && pwd !== undefined) {
      return isIceText(ufrag, 4) && isIceText(pwd, 22) ? { ufrag, pwd } : undefined
    }
  }
  return undefined
}

function find(section: readonly SdpLine[], name: string): string | undefined {
  for (const line of section) {
    const value = attributeValue(line, name)
    if (value !== undefined) return value
  }
  return undefined
}

/**
 * Between `atLeast` and 256 characters. The grammar has letters, digits, `+` and `/`; browsers take `-`, `_`,
 * `=` and `#` as well. A colon would make the USERNAME ambiguous.
 */
function isIceText(text: string, atLeast: number): boolean {
  return text.length >= atLeast && text.length <= 256 && /^[A-Za-z0-9+/\-_=#]*$/.test(text)
}
