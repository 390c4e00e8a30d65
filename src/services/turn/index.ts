/**
 * A TURN server (RFC 8656 and its kin) as part of the gateway and as a library: listeners for clients, relayed addresses
 * for their peers, credentials, quotas and rules about peers. Datagrams of channels go through flows of the datapath.
 *
 * @module
 */
export type { ClientTransport } from './client-transport.ts'
export type { AllocationInfo } from './allocation-info.ts'
export type { CredentialClaim, Credential, CredentialSource, KeyAlgorithm } from './credentials/contract.ts'
export { TurnError, type TurnErrorCode } from './errors.ts'
export type { AllocationEnd, TurnEvents } from './events.ts'
export {
  defaultLimits,
  type Redirect,
  type RelayOptions,
  type TurnLimits,
  type TurnListenerOptions,
  type TurnServerOptions,
} from './options.ts'
export type { PeerPolicy, PeerProtocol } from './peers/contract.ts'
export { admitAll, denyAll } from './peers/fixed-policies.ts'
export { parsePeerRule, type PeerRule } from './peers/peer-rule.ts'
export { PeerRules, type PeerRulesOptions } from './peers/peer-rules.ts'
export { ResolvedNames, type ResolvedNamesOptions } from './peers/resolved-names.ts'
export { type AllocationQuota, MemoryQuota, type QuotaRequest } from './quota.ts'
export type { ListenerStats } from './listener-stats.ts'
export { TurnServer, type TurnServerChanges } from './turn-server.ts'
export { CredentialChain } from './credentials/credential-chain.ts'
export { NoCredentials } from './credentials/no-credentials.ts'
export { type StaticUser, StaticUsers } from './credentials/static-users.ts'
export { TimeLimited } from './credentials/time-limited.ts'
export { credentialRoutes } from './credentials/credential-routes.ts'
export { OAuth } from './credentials/oauth.ts'
export { Webhook } from './credentials/webhook.ts'
export { EventWebhook } from './event-webhook.ts'
export { registerEventMetrics } from './metrics.ts'
export { turnRoutes } from './admin-routes.ts'
export { type CredentialErrorCode, CredentialError } from './credentials/errors.ts'
export {
  type CredentialIssuer,
  type IceConfiguration,
  iceConfigurationOf,
  issueCredential,
  type RestCredential,
} from './credentials/issue-credential.ts'
export { opaqueString, opaqueStringRefusal } from './credentials/opaque-string.ts'
export { timeLimitedPassword, type TimeLimitedOptions } from './credentials/time-limited.ts'
export type { UserBounds } from './credentials/user-bounds.ts'
