import type { Clock } from '../../../foundation/clock.ts'
import type { AuthScope, FrpcAuthConfig } from '../../../mechanisms/frp-config/index.ts'
import { privilegeKey } from '../../../protocols/frp/index.ts'
import type { ClientAuth, Proof } from './contract.ts'

/** What a message carries that needs no proof. */
export const NO_PROOF: Proof = { privilege_key: '', timestamp: 0 }

/** A client that shows that it knows the token, in its login and in what `additionalScopes` says. */
export function clientTokenAuth(
  auth: Pick<FrpcAuthConfig, 'token' | 'additionalScopes'>,
  { clock }: { readonly clock: Clock },
): ClientAuth {
  const { token } = auth
  const prove = async (): Promise<Proof> => {
    const timestamp = Math.floor(clock.wallMs() / 1000)
    return { privilege_key: privilegeKey(token, timestamp), timestamp }
  }
  const proveFor = (scope: AuthScope): ClientAuth['ping'] =>
    auth.additionalScopes.includes(scope) ? prove : () => Promise.resolve(NO_PROOF)
  return { token, login: prove, ping: proveFor('HeartBeats'), newWorkConn: proveFor('NewWorkConns') }
}
