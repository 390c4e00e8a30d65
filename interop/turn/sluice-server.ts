import { readFileSync } from 'node:fs'
import { OAuth } from '../../src/services/turn/credentials/oauth.ts'
import {
  admitAll,
  type CredentialSource,
  StaticUsers,
  TimeLimited,
  type TurnListenerOptions,
  TurnServer,
} from '../../src/services/turn/index.ts'
import { oauthKeys, oauthServerName } from './oauth-keys.ts'
import type { TurnServerPorts, TurnServerSettings } from './turn-server.ts'

/** Sluice's TURN server as a program embeds it, in this process. */
export interface SluiceTurnServer extends TurnServerPorts, AsyncDisposable {
  /** Puts other credentials and another certificate in force; see `TurnServer.update`. */
  reload(settings: TurnServerSettings): Promise<void>
}

/** Starts one with no limits that many clients of one user on one address would meet. */
export async function startSluice(settings: TurnServerSettings): Promise<SluiceTurnServer> {
  const turn = new TurnServer({
    listeners: listenersOf(settings),
    credentials: credentialsOf(settings),
    realm: settings.realm,
    limits: { maxPerUser: 0, maxPerAddress: 10_000, newPeersPerSecond: 0, strangerRepliesPerSecond: 0 },
  })
  await turn.start()
  const port = (name: string) => turn.ports.get(name) ?? 0
  return {
    ports: { udp: port('udp'), tcp: port('tcp'), tls: port('tls') },
    udp6Port: port('udp6'),
    reload: async (changed) => {
      await turn.update({ listeners: listenersOf(changed), credentials: credentialsOf(changed) })
    },
    [Symbol.asyncDispose]: () => turn.close(),
  }
}

function listenersOf({ certificateFile, keyFile }: TurnServerSettings): readonly TurnListenerOptions[] {
  const certificate = { cert: readFileSync(certificateFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
  const common = { relays: [{ address: '127.0.0.1' }, { address: '::1' }], peers: admitAll }
  const listen = { host: '127.0.0.1', port: 0 }
  return [
    { ...common, name: 'udp', transport: 'udp', listen },
    { ...common, name: 'udp6', transport: 'udp', listen: { host: '::1', port: 0 } },
    { ...common, name: 'tcp', transport: 'tcp', listen },
    { ...common, name: 'tls', transport: 'tls', listen, certificate },
  ]
}

function credentialsOf(settings: TurnServerSettings): CredentialSource {
  const { credentials, username, password, secret } = settings
  if (credentials === 'static') return new StaticUsers([{ username, password }])
  if (credentials === 'secret') return new TimeLimited({ secrets: [secret] })
  const keys = oauthKeys.map(({ kid, key }) => ({ kid, key: Buffer.from(key) }))
  return new OAuth({ serverName: oauthServerName, keys })
}
