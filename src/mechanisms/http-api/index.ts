/** Small HTTP servers for control: registration and admin stand on it. Media does not pass here. */
export type { ApiErrorCode } from './errors.ts'
export {
  type ApiReply,
  type ApiRequest,
  type ApiRoute,
  HttpApi,
  type HttpApiOptions,
} from './http-api.ts'
export { readBody } from './request-body.ts'
