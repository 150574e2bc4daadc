// Versions that belong to no package, such as those of kernels under /lib/modules.

package pkgmgr

// CompareVersions orders two version strings by runs of digits and of other
// characters: negative where a is older.
func CompareVersions(a, b string) int { return compareDebPart(a, b) }
