# For the scripts whose server is a set of jars; sourced by them, after common.sh.
# shellcheck shell=bash

find_java() {
    JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java
    command -v "$JAVA" > /dev/null ||
        die "Java is missing: apt-get install -y default-jre-headless"
}

# fetch_jars GROUP:ARTIFACT:VERSION ...   into $JARS, with all that they need, unless they are there
fetch_jars() {
    [ ! -e "$JARS/.complete-$VERSION" ] || return 0
    command -v "${MVN:-mvn}" > /dev/null ||
        die "Maven is missing, which fetches the jars: apt-get install -y maven"
    mkdir -p "$JARS"
    (
        flock 8
        [ ! -e "$JARS/.complete-$VERSION" ] || exit 0
        echo "tools/servers/$server: fetching its jars into $JARS" >&2
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        {
            echo '<project xmlns="http://maven.apache.org/POM/4.0.0">'
            echo '<modelVersion>4.0.0</modelVersion><packaging>pom</packaging>'
            echo "<groupId>local</groupId><artifactId>$server-jars</artifactId><version>1</version>"
            echo '<dependencies>'
            for artifact in "$@"; do
                IFS=: read -r group name version <<< "$artifact"
                echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId>" \
                    "<version>$version</version></dependency>"
            done
            echo '</dependencies></project>'
        } > "$work/pom.xml"
        "${MVN:-mvn}" -q -B -f "$work/pom.xml" dependency:copy-dependencies \
            -DincludeScope=runtime "-DoutputDirectory=$(cd "$JARS" && pwd)" > "$work/log" 2>&1 || {
            tail -n 20 "$work/log" >&2
            die "Maven could not fetch the jars; its last words are above"
        }
        touch "$JARS/.complete-$VERSION"
    ) 8>> "$JARS/.lock" || exit 1
}
