import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;

/**
 * Makes each visit {@code METHOD URL} that it is given with Java's own HTTP client, and tells in a line of JSON what came of
 * it, as visits.py does. The first argument is the version of HTTP, {@code HTTP_1_1} or {@code HTTP_2}. Java knows none of
 * the variables for proxies, so the program reads {@code HTTPS_PROXY} itself; whom to trust are properties of its start.
 */
public class Visits {
    private static final Duration LIMIT = Duration.ofSeconds(30);

    public static void main(String[] words) {
        URI proxy = URI.create(System.getenv("HTTPS_PROXY"));
        HttpClient client = HttpClient.newBuilder()
            .version(HttpClient.Version.valueOf(words[0]))
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .connectTimeout(LIMIT)
            .build();
        for (int place = 1; place + 1 < words.length; place += 2) {
            try {
                System.out.println(visit(client, words[place], URI.create(words[place + 1])));
            } catch (Exception error) {
                System.out.println("{\"failed\":" + quoted(error.toString()) + "}");
                break;
            }
        }
        // The client's own threads would keep the program alive for a while.
        System.exit(0);
    }

    private static String visit(HttpClient client, String method, URI url) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(url)
            .method(method, method.equals("POST") ? BodyPublishers.ofString("text") : BodyPublishers.noBody())
            .timeout(LIMIT)
            .build();
        HttpResponse<InputStream> answer = client.send(request, BodyHandlers.ofInputStream());
        MessageDigest sum = MessageDigest.getInstance("SHA-256");
        StringBuilder text = new StringBuilder();
        long bytes = 0;
        try (InputStream body = answer.body()) {
            byte[] piece = new byte[65536];
            for (int length = body.read(piece); length >= 0; length = body.read(piece)) {
                sum.update(piece, 0, length);
                bytes += length;
                if (text.length() < 4000) {
                    text.append(new String(piece, 0, Math.min(length, 4000), StandardCharsets.UTF_8));
                }
            }
        }
        String error = answer.headers().firstValue("x-proxy-error").map(Visits::quoted).orElse("null");
        String version = answer.version() == HttpClient.Version.HTTP_2 ? "2" : "1.1";
        return String.format(
            "{\"status\":%d,\"error\":%s,\"version\":\"%s\",\"bytes\":%d,\"sha256\":\"%s\",\"text\":%s}",
            answer.statusCode(), error, version, bytes, HexFormat.of().formatHex(sum.digest()), quoted(text.toString()));
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                quoted.append('\\').append(letter);
            } else if (letter < ' ') {
                quoted.append(String.format("\\u%04x", (int) letter));
            } else {
                quoted.append(letter);
            }
        }
        return quoted.append('"').toString();
    }
}
