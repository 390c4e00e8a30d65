/**
 * A TURN server (RFC 8656 and its kin) as part of the gateway and as a library: listeners for clients, relayed addresses
 * for their peers, credentials, quotas and rules about peers. Datagrams of channels go through flows of the datapath.
 *
 * @module
 */

// The server.
export type { AllocationInfo } from './allocation-info.ts'
export type { ClientTransport } from './client-transport.ts'
export { TurnError, type TurnErrorCode } from './errors.ts'
export type { AllocationEnd, TurnEvents } from './events.ts'
export type { TurnFleet } from './fleet.ts'
export type { ListenerStats } from './listener-stats.ts'
export {
  defaultLimits,
  type Redirect,
  type RelayOptions,
  type TurnLimits,
  type TurnListenerOptions,
  type TurnServerOptions,
} from './options.ts'
export { type AllocationQuota, MemoryQuota, type QuotaCheck, type QuotaRequest } from './quota.ts'
export { TurnServer, type TurnServerChanges } from './turn-server.ts'

// Who clients are.
export type { Credential, CredentialClaim, CredentialSource, KeyAlgorithm } from './credentials/contract.ts'
export { CredentialChain } from './credentials/credential-chain.ts'
export { CredentialError, type CredentialErrorCode } from './credentials/errors.ts'
export { type Identity, passwordCredential } from './credentials/keyed-credential.ts'
export { NoCredentials } from './credentials/no-credentials.ts'
export { OAuth, type OAuthKey, type OAuthOptions } from './credentials/oauth.ts'
export { opaqueString, opaqueStringRefusal } from './credentials/opaque-string.ts'
export { type StaticUser, StaticUsers } from './credentials/static-users.ts'
export { TimeLimited, type TimeLimitedOptions, timeLimitedPassword } from './credentials/time-limited.ts'
export type { UserBounds } from './credentials/user-bounds.ts'
export { Webhook, type WebhookOptions } from './credentials/webhook.ts'

// Credentials that are handed out.
export {
  type CredentialIssuer,
  type CredentialOrder,
  type IceConfiguration,
  iceConfigurationOf,
  type IceTransportPolicy,
  issueCredential,
  type RestCredential,
} from './credentials/issue-credential.ts'

// Whom clients may reach.
export type { PeerPolicy, PeerProtocol } from './peers/contract.ts'
export { PeersError, type PeersErrorCode } from './peers/errors.ts'
export { admitAll, denyAll } from './peers/fixed-policies.ts'
export { parsePeerRule, type PeerRule } from './peers/peer-rule.ts'
export { PeerRules, type PeerRulesOptions, type PeerRulesResources } from './peers/peer-rules.ts'
export { ResolvedNames, type ResolvedNamesOptions } from './peers/resolved-names.ts'

// Its place in the gateway: the admin API, the event webhook and their metric.
export { turnRoutes } from './admin-routes.ts'
export {
  credentialRoutes,
  type CredentialRoutesOptions,
  type RouteIssuer,
} from './credentials/credential-routes.ts'
export { EventWebhook, type EventWebhookOptions } from './event-webhook.ts'
export { registerEventMetrics } from './metrics.ts'

// What options and events are made of.
export type { Clock, Timer } from '../../foundation/clock.ts'
export { SluiceError, type Side } from '../../foundation/errors.ts'
export type { CloseOptions, StartOptions } from '../../foundation/lifecycle.ts'
export { createDatapath, type Datapath, type DatapathOptions } from '../../mechanisms/datapath/index.ts'
export type { Certificate, ListenAddress } from '../../mechanisms/net/index.ts'
export {
  createLogger,
  type Logger,
  type LoggerOptions,
  type Registry,
} from '../../mechanisms/telemetry/index.ts'
