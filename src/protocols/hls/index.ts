/**
 * HLS playlists (RFC 8216bis) and DASH manifests as far as a gateway looks into them: where they name URIs. A callback
 * decides about each of them; everything else stays byte for byte.
 *
 * @module
 */
export {
  type ManifestRewrite,
  type ManifestUri,
  type ManifestUriKind,
  rewriteManifest,
} from './rewrite-manifest.ts'
export type { PlaylistUriKind } from './playlist-uri-kind.ts'
export {
  isPlaylist,
  type PlaylistLimits,
  type PlaylistRewrite,
  rewritePlaylist,
  type UriDecision,
} from './rewrite-playlist.ts'
