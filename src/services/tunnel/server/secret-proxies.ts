import type { ByteStream } from '../../../foundation/byte-stream.ts'
import { cfbKey, isPrivilegeKey, type NewVisitorConn } from '../../../protocols/frp/index.ts'
import { TunnelError } from '../errors.ts'
import { payloadLayers } from '../payload-layers.ts'
import type { Backend, UserAddress } from './backend.ts'
import { type DatagramForm, recodeDatagrams } from './recode-datagrams.ts'

/** A proxy that only visitors reach (reference §11). */
export interface SecretProxy {
  readonly type: 'stcp' | 'sudp'
  readonly secretKey: string
  /** `*`: all. */
  readonly allowUsers: readonly string[]
  /** How its client writes datagrams. */
  readonly form: DatagramForm
  readonly backend: Backend
}

/** The proxies that wait for visitors, by name. */
export class SecretProxies {
  readonly #proxies = new Map<string, SecretProxy>()

  /** The function that is returned takes it out again. */
  add(name: string, proxy: SecretProxy): () => void {
    this.#proxies.set(name, proxy)
    return () => {
      if (this.#proxies.get(name) === proxy) this.#proxies.delete(name)
    }
  }

  /**
   * Checks whether a visitor may come in.
   *
   * @param visitorUser of the login that the visitor belongs to
   * @throws TunnelError in frp's words
   */
  check(visitor: NewVisitorConn, visitorUser: string): SecretProxy {
    const name = visitor.proxy_name
    const proxy = this.#proxies.get(name)
    if (proxy === undefined) throw refusal(`custom listener for [${name}] doesn't exist`)
    if (!isPrivilegeKey(visitor.sign_key, proxy.secretKey, visitor.timestamp)) {
      throw refusal(`visitor connection of [${name}] auth failed`)
    }
    if (!proxy.allowUsers.includes(visitorUser) && !proxy.allowUsers.includes('*')) {
      throw refusal(`visitor connection of [${name}] user [${visitorUser}] not allowed`)
    }
    return proxy
  }
}

/** How the client of a visitor speaks. */
export interface VisitorManner extends DatagramForm {
  /** Whether it keeps one direction open when the other has ended. */
  readonly halfClose: boolean
}

/** Leads an admitted visitor to the proxy: takes the layers of its hop off, and translates where wire versions differ. */
export function serveVisitor(
  proxy: SecretProxy,
  visitor: NewVisitorConn,
  manner: VisitorManner,
  connection: ByteStream,
  address: UserAddress,
): void {
  const plain = payloadLayers(connection, {
    key: visitor.use_encryption ? cfbKey(proxy.secretKey) : undefined,
    isCompressed: visitor.use_compression,
  })
  const isSame = manner.version === proxy.form.version && manner.codec === proxy.form.codec
  const isForeign = proxy.type === 'sudp' && !isSame
  const user = isForeign ? recodeDatagrams(plain, manner, proxy.form) : plain
  proxy.backend.serve(user, address, manner.halfClose)
}

function refusal(message: string): TunnelError {
  return new TunnelError('TUNNEL_FORBIDDEN', message, { side: 'client' })
}
